"""deploy/compose: the file is valid, and each container is confined, limited and watched."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from router.config import load
from tests.acceptance.processes import ROOT

COMPOSE = ROOT / "deploy" / "compose"
PROFILES = ("", "postgresql", "postgresql,replicas")
_TAG = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?")
SHELLCHECK, DOCKER_COMPOSE, AMTOOL = map(shutil.which, ("shellcheck", "docker-compose", "amtool"))
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")


def services() -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE / "compose.yaml")["services"]
    return read


SERVICES = services()


@pytest.mark.skipif(DOCKER_COMPOSE is None, reason="needs docker-compose: apt-get install docker-compose")
@pytest.mark.parametrize("profile", PROFILES)
def test_compose_accepts_the_file_with_the_shipped_settings(tmp_path: Path, profile: str) -> None:
    settings = tmp_path / "settings"
    settings.write_text(
        re.sub("COMPOSE_PROFILES=.*", f"COMPOSE_PROFILES={profile}", (COMPOSE / ".env.example").read_text())
    )
    chosen = [word for each in profile.split(",") if each for word in ("--profile", each)]
    command = [
        str(DOCKER_COMPOSE), "--file", "compose.yaml", "--env-file", str(settings), *chosen, "config", "--quiet",
    ]  # fmt: skip
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ran = subprocess.run(command, cwd=COMPOSE, env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_confined_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert {"mem_limit", "cpus"} <= set(service)
    assert "privileged" not in service
    has_socket = any("docker.sock" in str(each) for each in service.get("volumes", ()))
    assert has_socket == (name == "alloy")
    assert not (has_socket and "ports" in service)
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in service.get("ports", ()))
    if not name.startswith("alert-router"):  # the image of the router has a health check of its own
        assert _TAG.fullmatch(service["image"]), service["image"]
        assert service["healthcheck"]["test"][0] == "CMD"


def test_files_and_secrets_that_are_mounted_exist_or_are_made() -> None:
    made = ("./secrets/", "./state/")
    declared = YAML(typ="safe").load(COMPOSE / "compose.yaml")["secrets"]
    prepare = (COMPOSE / "prepare").read_text()
    for name, secret in declared.items():
        assert secret["file"] == f"./secrets/{name}"
        assert re.search(rf"\b{name}\b", prepare), f"prepare makes no {name}"
    for service in SERVICES.values():
        assert set(service.get("secrets", ())) <= set(declared)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith(".") and not source.startswith(made):
                assert (COMPOSE / source).exists(), source


def test_each_setting_is_used_and_has_a_default_in_the_template() -> None:
    used = set(re.findall(r"\$\{(\w+)", (COMPOSE / "compose.yaml").read_text()))
    shipped = set(re.findall(r"^(\w+)=", (COMPOSE / ".env.example").read_text(), re.MULTILINE))
    assert used | {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"} == shipped


def test_what_needs_a_profile() -> None:
    assert {name: each["profiles"] for name, each in SERVICES.items() if "profiles" in each} == {
        "postgres": ["postgresql"],
        "postgres-exporter": ["postgresql"],
        "alert-router-2": ["replicas"],
        "load-balancer": ["replicas"],
    }


def test_the_second_replica_is_like_the_first_one() -> None:
    first, second = SERVICES["alert-router"], SERVICES["alert-router-2"]
    own = {"build", "ports", "volumes", "hostname", "profiles"}
    assert {key: each for key, each in first.items() if key not in own} == {
        key: each for key, each in second.items() if key not in own
    }
    assert second["volumes"] == first["volumes"][:1]  # the rules; neither a database nor backups


@pytest.mark.skipif(HAPROXY is None, reason="needs HAProxy: apt-get install haproxy")
def test_haproxy_accepts_the_load_balancer_before_both_replicas(tmp_path: Path) -> None:
    text = (COMPOSE / "haproxy.cfg").read_text()
    servers = set(re.findall(r"^ +server \S+ (\S+):9099$", text, re.MULTILINE))
    assert servers == {name for name in SERVICES if name.startswith("alert-router")}
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    ran = subprocess.run([str(HAPROXY), "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert (ran.returncode, "WARNING" in ran.stdout + ran.stderr) == (0, False), ran.stdout + ran.stderr


def test_prometheus_scrapes_both_replicas_and_one_url_takes_webhooks(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    compose = tmp_path / "deploy" / "compose"
    settings = (compose / ".env.example").read_text()
    for name, value in (
        ("COMPOSE_PROFILES", "postgresql,replicas"), ("ALERT_ROUTER_DATABASE", "postgresql:///?service=router"),
        ("ALERT_ROUTER_BACKUP_TO", ""),
    ):  # fmt: skip
        settings = re.sub(rf"^{name}=.*", f"{name}={value}", settings, flags=re.MULTILINE)
    (compose / ".env").write_text(settings)
    environ = {**os.environ, "HASH_PASSWORD": "cat"}
    subprocess.run([compose / "prepare"], env=environ, check=True, capture_output=True)
    yaml = YAML(typ="safe")
    jobs = {
        each["job_name"]: each for each in yaml.load(compose / "state" / "prometheus.yml")["scrape_configs"]
    }
    assert jobs["alert-router"]["static_configs"] == [
        {"targets": ["alert-router:9099", "alert-router-2:9099"]}
    ]
    receivers = yaml.load(compose / "state" / "alertmanager.yml")["receivers"]
    (posted,) = [hook["url"] for each in receivers for hook in each.get("webhook_configs", ())]
    assert posted == "http://load-balancer:9099/webhook"
    (compose / ".env").write_text(
        settings.replace("ALERT_ROUTER_DATABASE=postgresql:///?service=router", "ALERT_ROUTER_DATABASE=")
    )
    assert (
        subprocess.run([compose / "prepare"], env=environ, check=False, capture_output=True).returncode == 1
    )


def test_the_rules_of_the_stack_need_no_account_anywhere(tmp_path: Path) -> None:
    for name in ("admin_password_hash", "alert_router_scrape_token_hash", "alert_router_webhook_token"):
        (tmp_path / name).write_text("x" * 40)
    (tmp_path / "admin_password_hash").write_text("$2b$12$" + "a" * 53)
    (tmp_path / "alert_router_scrape_token_hash").write_text("sha256:" + "0" * 64)
    text = (COMPOSE / "routes" / "routes.yaml").read_text().replace("/run/secrets", str(tmp_path))
    file = tmp_path / "routes.yaml"
    file.write_text(text)
    environ = SERVICES["alert-router"]["environment"]
    defaults = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)) for name, value in environ.items()}
    config = load(file, environ=defaults, now=0)
    assert config.access.needs_credentials
    assert [each.name for each in config.policy.watched.heartbeats] == ["watchdog"]


def test_backups_are_a_folder_that_the_image_has_for_its_user() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", (COMPOSE / ".env.example").read_text(), re.MULTILINE))
    folder = settings["ALERT_ROUTER_BACKUP_TO"]
    assert f"router-backups:{folder}" in SERVICES["alert-router"]["volumes"]
    # A new volume gets its owner from the folder of the image; a folder that the image lacks would belong to root.
    assert re.search(rf"install -d -o alert-router .* {folder}\n", (ROOT / "Dockerfile").read_text())


@pytest.mark.skipif(AMTOOL is None, reason="needs amtool: apt-get install prometheus-alertmanager")
def test_alertmanager_accepts_the_file_that_prepare_writes(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    compose = tmp_path / "deploy" / "compose"
    environ = {**os.environ, "HASH_PASSWORD": "cat"}
    subprocess.run([compose / "prepare"], env=environ, check=True, capture_output=True)
    command = [str(AMTOOL), "check-config", str(compose / "state" / "alertmanager.yml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(SHELLCHECK is None, reason="needs shellcheck: apt-get install shellcheck")
def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    scripts = [
        path for path in (ROOT / "deploy").rglob("*")
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh\n", b"#!/usr/bin/env bash\n"))
    ]  # fmt: skip
    assert len(scripts) >= 5
    command = [str(SHELLCHECK), "--format=json", *map(str, scripts)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(ran.stdout) == []
