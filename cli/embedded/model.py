"""The local model: llama.cpp's server with SmolLM2-135M-Instruct, speaking OpenAI's API on a port of its own."""

from __future__ import annotations

import argparse
import os
import signal

from xllamacpp import CommonParams, Server

from cli.embedded import packages

SLOTS = 4  # answers at once; each has its own part of the key-value cache
CONTEXT = 4096  # tokens of one slot: Ollama's own default
# Several threads wait for each other, spinning, some hundred times a token: on cores that others use as well two made
# 0.5 tokens a second where one makes 20.
THREADS = 1
WARNINGS = 2


def parameters(port: int) -> CommonParams:
    params = CommonParams()
    params.model.path = str(packages.chat_weights())
    params.port = port
    params.n_ctx = SLOTS * CONTEXT
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = THREADS
    params.cpuparams_batch.n_threads = params.cpuparams.n_threads
    params.n_threads_http = 64  # one is held by each answer, also by those that wait for a slot
    params.cache_ram_mib = 0  # no store of old prompts, which may take 8 GB
    params.cache_idle_slots = False
    params.cors_origins = ""  # no web page of anybody has business here
    params.verbosity = WARNINGS
    params.warmup = False
    params.ui = False
    return params


def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before llama.cpp starts its threads, which inherit the mask
    server = Server(parameters(port))
    print(f"serving {server.listening_address}", flush=True)
    signal.sigwait(signals)
    os._exit(0)  # its destructor waits for every open connection, so that one idle client would hold us up


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
