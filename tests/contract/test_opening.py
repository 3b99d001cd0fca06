"""A provider is opened from config, or refused with the place named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mesh.errors import ConfigError
from mesh.settings import ProviderConfig
from workers.providers import open_provider


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"adapter": "opnai"}, "providers.up.adapter: no adapter 'opnai', did you mean openai?"),
        ({"adapter": "openai", "base_url": "ftp://example.com"}, "providers.up.base_url"),
        ({"adapter": "openai", "base_url": "example.com/v1"}, "providers.up.base_url"),
        ({"adapter": "openai", "base_url": "http://"}, "providers.up.base_url"),
        ({"adapter": "openai", "base_url": "http://me:secret@example.com"}, "providers.up.base_url"),
        ({"adapter": "openai", "base_url": "http://example.com/v1?key=secret"}, "providers.up.base_url"),
        ({"adapter": "openai", "base_url": "http://example.com:port/"}, "providers.up.base_url"),
        ({"adapter": "ollama", "base_url": "host:port"}, "providers.up.base_url"),
    ],
)
def test_a_config_that_cannot_work_is_refused(config: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_provider("up", ProviderConfig.model_validate(config))

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("adapter", ["anthropic", "openai", "ollama"])
def test_no_sdk_is_loaded_for_the_direct_transport(adapter: str) -> None:
    code = (
        "import sys; from mesh.settings import ProviderConfig; from workers.providers import open_provider;"
        f"open_provider('up', ProviderConfig(adapter={adapter!r}));"
        "sys.exit(','.join({'anthropic', 'openai', 'ollama', 'httpx', 'httpx2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0 or not done.stderr.strip(), done.stderr
