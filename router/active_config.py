"""Holds the configuration in force.

Other parts keep no copy: they call :class:`ActiveConfig` each time they need it. So a reload replaces the
configuration for all of them in one step.
"""

from collections.abc import Mapping

from router.channels import REGISTRY
from router.channels.base import Channel
from router.channels.outbox import Outbox, PreviewChannel
from router.config import Config
from router.config_files import LoadedConfig
from router.decide import Policy
from router.deliver import RuntimeConfig
from router.model import Retention, Source
from router.network import Network


class ActiveConfig:
    """Holds the configuration in force, its templates and its open channels."""

    def __init__(self, loaded: LoadedConfig, outbox: Outbox | None) -> None:
        """:param outbox: gets all messages of a preview instead of the providers; None: messages are sent"""
        self._outbox = outbox
        self._loaded = loaded
        self._runtime = self._runtime_of(loaded, {}, None)

    @property
    def loaded(self) -> LoadedConfig:
        return self._loaded

    @property
    def config(self) -> Config:
        return self._loaded.config

    def runtime(self) -> RuntimeConfig:
        return self._runtime

    def policy(self) -> Policy:
        return self._runtime.policy

    def sources(self) -> tuple[Source, ...]:
        return self.config.sources

    def retention(self) -> Retention:
        return self.config.retention

    def network(self) -> Network:
        return self.config.network

    def timezone(self) -> str:
        return self.config.timezone

    def replace(self, loaded: LoadedConfig) -> None:
        """Put another configuration in force. Channels stay open if neither their settings nor the network settings
        changed.
        """
        self._runtime = self._runtime_of(loaded, self._runtime.channels, self.config)
        self._loaded = loaded

    def restore(self, loaded: LoadedConfig, runtime: RuntimeConfig) -> None:
        """Put the previous configuration in force again, after a failed reload."""
        self._loaded, self._runtime = loaded, runtime

    def _runtime_of(
        self, loaded: LoadedConfig, channels: Mapping[str, Channel], before: Config | None
    ) -> RuntimeConfig:
        config = loaded.config
        settings = {
            name: found
            for name, spec in REGISTRY.items()
            if (found := spec.settings_in(config.settings)) is not None
        }
        return RuntimeConfig(
            config.policy, loaded.templates, self._channels(config, channels, before),
            give_up_after={name: each.give_up_after for name, each in settings.items()},
            alert_after={name: each.alert_after for name, each in settings.items()},
            shared={
                spec.section: spec.shared_of(config.settings.get(spec.section)) for spec in REGISTRY.values()
            },
        )  # fmt: skip

    def _channels(
        self, config: Config, opened: Mapping[str, Channel], before: Config | None
    ) -> dict[str, Channel]:
        """Return the open channels by name: each channel whose section is in routes.yaml. A channel whose section was
        removed stays open, because it still has to send the ends of the alerts that it sent.

        :param opened: the channels in force; one is used again if neither its settings nor the network settings
            (proxies, certificate authorities) have changed
        """
        channels: dict[str, Channel] = {}
        same_network = before is not None and config.network == before.network
        for name, spec in REGISTRY.items():
            settings = spec.settings_in(config.settings)
            is_same = before is not None and (
                settings is None or (same_network and settings == spec.settings_in(before.settings))
            )
            if is_same and name in opened:
                channels[name] = opened[name]
            elif settings is not None:
                channel = spec.make(settings, config.network)
                channels[name] = channel if self._outbox is None else PreviewChannel(channel, self._outbox)
        return channels
