"""The configuration in force. Every part that works by it asks here each time, so a reload replaces it for all at once."""

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
    """Holds the configuration in force."""

    def __init__(self, loaded: LoadedConfig, outbox: Outbox | None) -> None:
        """:param outbox: of a preview; its channels file messages there and send nothing"""
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
        """Put another configuration in force. Channels stay open if neither their settings nor
        the network changed.
        """
        self._runtime = self._runtime_of(loaded, self._runtime.channels, self.config)
        self._loaded = loaded

    def restore(self, loaded: LoadedConfig, runtime: RuntimeConfig) -> None:
        """Put the configuration back in force that was so before."""
        self._loaded, self._runtime = loaded, runtime

    def _runtime_of(
        self, loaded: LoadedConfig, channels: Mapping[str, Channel], before: Config | None
    ) -> RuntimeConfig:
        config = loaded.config
        settings = {
            name: found
            for name, spec in REGISTRY.items()
            if (found := config.settings.get(spec.section)) is not None
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
        """Return a channel for each name that there are settings for. One whose section is gone stays, for the ends of
        what was sent through it.

        :param opened: the channels in force; those with the same settings and network stay
        """
        channels: dict[str, Channel] = {}
        same_network = before is not None and config.network == before.network
        for name, spec in REGISTRY.items():
            settings = config.settings.get(spec.section)
            is_same = before is not None and (
                settings is None or (same_network and settings == before.settings.get(spec.section))
            )
            if is_same and name in opened:
                channels[name] = opened[name]
            elif settings is not None:
                channel = spec.make(settings, config.network)
                channels[name] = channel if self._outbox is None else PreviewChannel(channel, self._outbox)
        return channels
