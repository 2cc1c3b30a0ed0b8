"""What an import alone does not prove: data files are where they are looked for, native parts load, an agent runs.

Each check raises when it fails. They import inside, because importing is part of what they check.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def ca_bundle(root: Path) -> None:
    """certifi's certificates are in the tree, and TLS can be set up with them."""
    import ssl

    import certifi

    path = Path(certifi.where()).resolve()
    if not path.is_relative_to(root):
        raise FileNotFoundError(f"the certificates are outside the tree: {path}")
    if len(ssl.create_default_context(cafile=str(path)).get_ca_certs()) < 50:
        raise ValueError("the certificate bundle is incomplete")


def token_encodings(_root: Path) -> None:
    """tiktoken finds its encodings, which live in a namespace package that it searches at run time."""
    import tiktoken

    if "cl100k_base" not in tiktoken.list_encoding_names():
        raise LookupError("tiktoken finds no encodings")


def temporal_bridge(root: Path) -> None:
    """temporalio's native library loads, from the tree."""
    from temporalio.bridge import temporal_sdk_bridge

    if not Path(str(temporal_sdk_bridge.__file__)).resolve().is_relative_to(root):
        raise ImportError("the native bridge was loaded from outside the tree")


def validation(_root: Path) -> None:
    """pydantic's native core validates, and refuses."""
    from pydantic import BaseModel, ValidationError

    class Probe(BaseModel):
        number: int

    if Probe.model_validate_json('{"number": 3}').number != 3:
        raise ValueError("pydantic misreads a number")
    try:
        Probe.model_validate_json('{"number": "x"}')
    except ValidationError:
        return
    raise ValueError("pydantic accepts what it must refuse")


def providers(_root: Path) -> None:
    """Every provider's model can be made; no connection is opened."""
    import os

    from agent_runner.models import KEY_VARIABLES, PROVIDERS, ModelSpec
    from agent_runner.providers import chat_model

    os.environ.update(dict.fromkeys(KEY_VARIABLES.values(), "not-a-key"))
    for provider in PROVIDERS:
        chat_model(ModelSpec.of(provider, "any-model"))


def agent_loop(_root: Path) -> None:
    """An agent runs one whole turn through each provider's library, with an answer from this process."""
    from agent_runner import rehearsal
    from agent_runner.models import PROVIDERS

    for provider in PROVIDERS:
        text = rehearsal.run(provider)
        if text != rehearsal.TEXT:
            raise ValueError(f"the agent answered {text!r} through {provider}")


ALL: tuple[Callable[[Path], None], ...] = (
    ca_bundle,
    token_encodings,
    temporal_bridge,
    validation,
    providers,
    agent_loop,
)
