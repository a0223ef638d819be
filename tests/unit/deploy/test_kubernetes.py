"""deploy/kubernetes: the resources fit the schemas of Kubernetes, are confined, and kustomize renders them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from deploy.kubernetes import prometheus_rules
from router.cli import main
from router.cli.environment import known_variables
from router.config import load
from tests.acceptance.processes import ROOT
from tests.deployed import RULE_FILES, alerts, rules
from tests.unit.docs.pages import section

FOLDER = ROOT / "deploy" / "kubernetes"
KUBECTL, PROMTOOL = map(shutil.which, ("kubectl", "promtool"))
_SCHEMAS = json.loads((Path(__file__).parent / "schemas" / "kubernetes.json").read_text())
_NO_RESOURCES = {"kustomization.yaml", "routes.yaml"}
_OWN_HTTP = {"/healthz", "/readyz", "/metrics"}


def files() -> Iterator[Path]:
    yield from (path for path in sorted(FOLDER.rglob("*.yaml")) if path.name not in _NO_RESOURCES)


def problems(resource: dict[str, Any]) -> list[str]:
    """Return what the schema of its kind does not allow."""
    schema = _SCHEMAS["kinds"][f"{resource['apiVersion']} {resource['kind']}"]
    validator = jsonschema.Draft202012Validator(schema | {"$defs": _SCHEMAS["$defs"]})
    return [f"{each.json_path}: {each.message}" for each in validator.iter_errors(resource)]


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(FOLDER / "base" / name)
    return found


POD = read("statefulset.yaml")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
ENVIRON = {each["name"]: each["value"] for each in CONTAINER["env"]}
DEPLOYMENT = YAML(typ="safe").load(FOLDER / "components" / "replicas" / "deployment.yaml")["spec"]
REPLICA = DEPLOYMENT["template"]["spec"]
SETTINGS = {each["name"]: each["value"] for each in REPLICA["containers"][0]["env"]}
_OF_SQLITE = {"data", "backups"}
"""Volumes that a pod with PostgreSQL has not."""


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_resource_fits_the_schema_of_its_kind(path: Path) -> None:
    resource = YAML(typ="safe").load(path)
    assert problems(resource) == []
    resource["metadata"]["lables"] = {}
    assert len(problems(resource)) >= 1


def test_schemas_refuse_wrong_values_deep_in_a_resource() -> None:
    resource = read("statefulset.yaml")
    resource["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    assert ["readinessProb" in each for each in problems(resource)] == [True]
    monitor = read("podmonitor.yaml")
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    assert ["intervall" in each for each in problems(monitor)] == [True]


def test_the_pod_fits_the_restricted_pod_security_standard() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    confined = CONTAINER["securityContext"]
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["capabilities"] == {"drop": ["ALL"]}
    assert confined["readOnlyRootFilesystem"] is True
    assert POD["automountServiceAccountToken"] is False
    assert read("serviceaccount.yaml")["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(POD)
    assert not any("hostPath" in volume for volume in POD["volumes"])
    assert {"memory"} <= set(CONTAINER["resources"]["limits"])


def test_users_and_folders_are_those_of_the_image() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}\n" in image
    mounts = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert f"VOLUME {mounts['data']}\n" in image
    assert f"-m 0700 {mounts['data']} {mounts['backups']}\n" in image
    assert ENVIRON["ALERT_ROUTER_BACKUP_TO"] == mounts["backups"]
    assert ENVIRON["ALERT_ROUTER_DATABASE"] == f"sqlite:///{mounts['data']}/router.db"
    assert ENVIRON["ALERT_ROUTER_CONFIG"] == f"{mounts['routes']}/routes.yaml"


def test_the_pod_that_restores_is_like_the_one_of_the_router() -> None:
    pod = YAML(typ="safe").load(FOLDER / "restore.yaml")["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == POD["securityContext"]
    assert container["securityContext"] == CONTAINER["securityContext"]
    assert container["image"] == CONTAINER["image"]
    assert container["env"] == [each for each in CONTAINER["env"] if each["name"] == "ALERT_ROUTER_DATABASE"]
    mounts = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounted == {name: mounts[name] for name in ("data", "backups")}
    claims = {each["name"]: each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"]}
    assert claims == {
        each["metadata"]["name"]: f"{each['metadata']['name']}-alert-router-0"
        for each in read("statefulset.yaml")["spec"]["volumeClaimTemplates"]
    }
    command, file = container["args"]
    assert command == "restore"
    assert re.fullmatch(rf"{mounts['backups']}/alert-router-\d{{8}}T\d{{6}}Z\.db", file)
    assert pod["restartPolicy"] == "Never"


def test_the_pod_that_moves_to_postgresql_is_like_those_of_the_router() -> None:
    pod = YAML(typ="safe").load(FOLDER / "move-to-postgresql.yaml")["spec"]
    (exports,), (imports,) = pod["initContainers"], pod["containers"]
    restore = YAML(typ="safe").load(FOLDER / "restore.yaml")["spec"]
    own = {"name", "args", "env", "volumeMounts"}
    for each in (exports, imports):
        assert {key: value for key, value in each.items() if key not in own} == {
            key: value for key, value in restore["containers"][0].items() if key not in own
        }
    for key in ("securityContext", "restartPolicy", "automountServiceAccountToken", "enableServiceLinks"):
        assert pod[key] == restore[key]
    assert exports["env"] == restore["containers"][0]["env"]
    assert {each["name"]: each["value"] for each in imports["env"]} == {
        name: SETTINGS[name] for name in ("ALERT_ROUTER_DATABASE", "PGSERVICEFILE")
    }
    mounts = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    mounted = [
        {each["name"]: each["mountPath"] for each in some["volumeMounts"]} for some in (exports, imports)
    ]
    assert mounted == [
        {name: mounts[name] for name in some} for some in (("data", "backups"), ("backups", "secrets"))
    ]
    secrets = next(each for each in REPLICA["volumes"] if each["name"] == "secrets")
    assert pod["volumes"] == [*restore["volumes"], secrets]
    file = f"{mounts['backups']}/router.jsonl.gz"
    assert (exports["args"], imports["args"]) == (["export", "--force", file], ["import-state", file])


def test_probes_ports_and_variables_are_those_of_the_router() -> None:
    assert set(ENVIRON) <= set(known_variables(main, "ALERT_ROUTER"))
    port = CONTAINER["ports"][0]["containerPort"]
    assert ENVIRON["ALERT_ROUTER_LISTEN"] == f"0.0.0.0:{port}"
    assert read("service.yaml")["spec"]["ports"][0]["port"] == port
    probes = {
        name: CONTAINER[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert read("podmonitor.yaml")["spec"]["podMetricsEndpoints"][0]["path"] in _OWN_HTTP


def test_the_pod_has_more_time_to_stop_than_the_router_takes() -> None:
    assert POD["terminationGracePeriodSeconds"] > 2 * float(ENVIRON["ALERT_ROUTER_DRAIN"])


def without(pod: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the pod of the router without some keys, and without what it has for SQLite or for PostgreSQL only."""
    (container,) = pod["containers"]
    mounts = [each for each in container["volumeMounts"] if each["name"] not in _OF_SQLITE]
    kept = {key: value for key, value in container.items() if key != "env"} | {"volumeMounts": mounts}
    volumes = [each for each in pod["volumes"] if each["name"] not in _OF_SQLITE]
    rest = {key: value for key, value in pod.items() if key not in names}
    return rest | {"containers": [kept], "volumes": volumes}


def test_a_pod_of_several_is_like_the_only_one() -> None:
    assert without(REPLICA, "topologySpreadConstraints") == without(POD)
    for name, value in SETTINGS.items():
        assert ENVIRON.get(name, value) == value or name == "ALERT_ROUTER_DATABASE", name
    assert set(ENVIRON) - set(SETTINGS) == {"ALERT_ROUTER_BACKUP_TO", "ALERT_ROUTER_BACKUP_KEEP"}
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"] == labels
    spread = [each["labelSelector"]["matchLabels"] for each in REPLICA["topologySpreadConstraints"]]
    assert spread == [labels, labels]
    assert read("service.yaml")["spec"]["selector"].items() <= labels.items()


def test_replicas_find_their_database_by_a_service_file_of_the_secret() -> None:
    assert not set(SETTINGS) - set(known_variables(main, "ALERT_ROUTER")) - {"PGSERVICEFILE"}
    assert SETTINGS["ALERT_ROUTER_DATABASE"] == "postgresql:///?service=router"
    folder = next(
        each["mountPath"] for each in REPLICA["containers"][0]["volumeMounts"] if each["name"] == "secrets"
    )
    assert SETTINGS["PGSERVICEFILE"] == f"{folder}/postgres_service"
    head = (FOLDER / "components" / "replicas" / "kustomization.yaml").read_text()
    assert "postgres_service" in head
    assert "#   [router]\n" in head
    (certificate,) = re.findall(
        r"^#   sslrootcert=(.+)$", head, re.MULTILINE
    )  # a file: the driver finds no others
    assert certificate == f"{folder}/postgres_ca.pem"


def test_a_rolling_update_leaves_two_replicas_and_waits_for_leases() -> None:
    update = DEPLOYMENT["strategy"]["rollingUpdate"]
    assert (DEPLOYMENT["replicas"], update) == (3, {"maxUnavailable": 1, "maxSurge": 0})
    assert read("poddisruptionbudget.yaml")["spec"]["maxUnavailable"] == 1
    # A new replica gets its share with a renewal of a replica that gives leases up: a quarter of the term later at most.
    assert DEPLOYMENT["minReadySeconds"] > 1.25 * float(SETTINGS["ALERT_ROUTER_LEASE_SECONDS"])
    assert REPLICA["terminationGracePeriodSeconds"] > 2 * float(SETTINGS["ALERT_ROUTER_DRAIN"])


def test_a_rollout_waits_longer_than_a_start_may_take() -> None:
    probe = REPLICA["containers"][0]["startupProbe"]
    longest = probe["periodSeconds"] * probe["failureThreshold"] + DEPLOYMENT["minReadySeconds"]
    assert DEPLOYMENT["progressDeadlineSeconds"] > longest


def _rule_of_kubernetes() -> dict[str, Any]:
    """Return the group of the PrometheusRule of the component."""
    file = FOLDER / "components" / "replicas" / "prometheusrule.yaml"
    (group,) = YAML(typ="safe").load(file)["spec"]["groups"]
    found: dict[str, Any] = group
    return found


def test_the_alert_about_missing_pods_has_the_number_of_the_deployment() -> None:
    (rule,) = _rule_of_kubernetes()["rules"]
    assert rule["expr"].endswith(f" < {DEPLOYMENT['replicas']}")
    (shipped,) = alerts()["AlertRouterReplicaMissing"]
    assert {**rule, "expr": ""} == {**shipped, "expr": ""}


def _of_component(file: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(prometheus_rules.FOLDER / file)
    return found


@pytest.mark.parametrize("file", prometheus_rules.FILES)
def test_the_rules_for_the_operator_are_those_of_the_files(file: str) -> None:
    """Otherwise run ``python -m deploy.kubernetes.prometheus_rules``."""
    assert _of_component(file) == prometheus_rules.prometheus_rule(*prometheus_rules.FILES[file])
    assert (prometheus_rules.FOLDER / file).read_text() == prometheus_rules.as_text(file)


def test_the_operator_gets_each_rule_once() -> None:
    objects = [_of_component(file) for file in prometheus_rules.FILES]
    groups = [group for each in objects for group in each["spec"]["groups"]]
    names = [each["metadata"]["name"] for each in objects] + ["alert-router-replicas"]
    assert len(set(names)) == len(names)
    assert len({each["name"] for each in groups}) == len(groups)
    given = [rule for group in groups for rule in group["rules"]]
    left_out = [each for each in rules() if each.get("alert") in prometheus_rules.LEFT_OUT]
    assert [each for each in rules() if each not in left_out] == sorted(given, key=rules().index)
    files = [file for _, some in prometheus_rules.FILES.values() for file in some]
    assert sorted(files) == [path.name for path in RULE_FILES]
    kept = {each.get("alert") for each in (*given, *_rule_of_kubernetes()["rules"])}
    assert set(alerts()) - kept == {"Watchdog"}


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
@pytest.mark.parametrize("file", prometheus_rules.FILES)
def test_promtool_accepts_the_rules_for_the_operator(tmp_path: Path, file: str) -> None:
    (tmp_path / "rules.yml").write_text(json.dumps(_of_component(file)["spec"]))
    ran = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(tmp_path / "rules.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
@pytest.mark.parametrize(("pods", "fires"), [(3, False), (2, True)])
def test_a_pod_that_is_not_scheduled_is_noticed(tmp_path: Path, pods: int, fires: bool) -> None:
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [_rule_of_kubernetes()]}))
    labels = 'job="alert-router", namespace="alert-router", container="alert-router"'
    series = [
        {"series": f'{name}{{{labels}, pod="p{pod}", instance="10.0.0.{pod}:9099"}}', "values": f"{value}x30"}
        for pod in range(pods)
        for name, value in (("up", 1), ("alert_router_replicas", pods))
    ]
    count = 'count(ALERTS{alertname="AlertRouterReplicaMissing", alertstate="firing"}) or vector(0)'
    asked = {"expr": count, "eval_time": "20m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}))
    ran = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["base", "overlays/example"])
def test_the_rules_can_be_loaded_with_the_secrets_as_files(tmp_path: Path, name: str) -> None:
    secrets = {
        "admin_password_hash": "$2b$12$" + "a" * 53, "scrape_token_hash": "sha256:" + "0" * 64, "webhook_token": "x" * 30,
        "slack_token": "xoxb-" + "0" * 30,
    }  # fmt: skip
    for key, value in secrets.items():
        (tmp_path / key).write_text(value)
    folder = next(each["mountPath"] for each in CONTAINER["volumeMounts"] if each["name"] == "secrets")
    text = (FOLDER / name / "routes.yaml").read_text()
    assert set(re.findall(rf"file: {folder}/(\w+)", text)) == set(secrets)
    file = tmp_path / "routes.yaml"
    file.write_text(text.replace(folder, str(tmp_path)))
    config = load(file, environ={}, now=0)
    assert config.access.needs_credentials
    assert [each.name for each in config.policy.watched.heartbeats] == ["watchdog"]


def _rendered(name: str) -> dict[str, dict[str, Any]]:
    """Return what kustomize makes of a folder, by kind."""
    if KUBECTL is None:
        pytest.skip("needs kubectl 1.21 or newer")
    return {each["kind"]: each for each in _kustomized(KUBECTL, FOLDER / name)}


def _kustomized(kubectl: str, folder: Path) -> list[dict[str, Any]]:
    ran = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return list(YAML(typ="safe").load_all(ran.stdout))


@pytest.mark.skipif(KUBECTL is None, reason="needs kubectl 1.21 or newer")
def test_the_lines_of_the_docs_add_the_rules_with_labels_of_prometheus(tmp_path: Path) -> None:
    (lines,) = re.findall(
        r"^```yaml\n(components:.*?)^```", section("docs/deploying.md", "Alerts in Kubernetes"), re.MULTILINE | re.DOTALL
    )  # fmt: skip
    overlays = os.path.relpath(FOLDER / "overlays", tmp_path)
    head = (
        f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{overlays}/example]\n"
    )
    (tmp_path / "kustomization.yaml").write_text(head + lines.replace("../..", f"{overlays}/.."))
    resources = _kustomized(str(KUBECTL), tmp_path)
    assert [found for each in resources if (found := problems(each))] == []
    selected = {
        (each["kind"], each["metadata"]["name"])
        for each in resources
        if "release" in each["metadata"].get("labels", {})
    }
    assert selected == {
        ("PodMonitor", "alert-router"),
        ("PrometheusRule", "alert-router-replicas"),
        ("PrometheusRule", "alert-router-rules"),
    }


def test_kustomize_renders_three_replicas_in_place_of_one() -> None:
    one, three = _rendered("overlays/example"), _rendered("overlays/replicas")
    assert set(one) - set(three) == {"StatefulSet"}
    assert set(three) - set(one) == {"Deployment", "PrometheusRule"}
    assert {kind: problems(each) for kind, each in three.items() if problems(each)} == {}
    assert {kind for kind in one.keys() & three.keys() if one[kind] != three[kind]} == {"NetworkPolicy"}
    was, now = (each["NetworkPolicy"]["spec"]["egress"] for each in (one, three))
    assert [each["ports"] for each in now if each not in was] == [[{"port": 5432, "protocol": "TCP"}]]
    deployment = three["Deployment"]
    assert deployment["metadata"]["namespace"] == "alert-router"
    pod = deployment["spec"]["template"]["spec"]
    assert {"name": "routes", "configMap": {"name": three["ConfigMap"]["metadata"]["name"]}} in pod["volumes"]
    stateful = one["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == stateful["containers"][0]["image"]


@pytest.mark.parametrize("name", ["base", "overlays/example"])
def test_kustomize_renders_resources_that_fit(name: str) -> None:
    resources = _rendered(name)
    base = {
        "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip
    assert set(resources) == (base if name == "base" else base | {"Ingress", "Namespace"})
    assert {kind: problems(each) for kind, each in resources.items() if problems(each)} == {}
    routes = resources["ConfigMap"]
    assert routes["data"]["routes.yaml"] == (FOLDER / name / "routes.yaml").read_text()
    volumes = resources["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "routes", "configMap": {"name": routes["metadata"]["name"]}} in volumes
    if name != "base":
        assert {each["metadata"].get("namespace", "alert-router") for each in resources.values()} == {
            "alert-router"
        }
