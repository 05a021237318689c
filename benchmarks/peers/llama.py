"""llama.cpp as a peer: one answer for each line on standard input, in an environment of its own.

A line is ``{"messages": [...], "max_tokens": 256}``; what comes back is
``{"seconds": ..., "tokens": ..., "prompt_tokens": ...}``. Sampling is greedy, and every prompt is
read anew. Nothing of ours is imported.
"""

from __future__ import annotations

import itertools
import json
import sys
import time

from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter


def main(weights: str, threads: str) -> None:
    """Answer until the input ends."""
    llama = Llama(
        weights, n_ctx=2048, n_threads=int(threads), n_threads_batch=int(threads), verbose=False
    )
    template = Jinja2ChatFormatter(
        llama.metadata["tokenizer.chat_template"],
        eos_token="<|im_end|>",
        bos_token="<|im_start|>",
    )
    for line in sys.stdin:
        request = json.loads(line)
        prompt = template(messages=request["messages"]).prompt
        llama.reset()
        began = time.perf_counter()
        tokens = llama.tokenize(prompt.encode(), add_bos=False, special=True)
        drawn = llama.generate(tokens, temp=0.0, repeat_penalty=1.0)
        answer = list(itertools.islice(drawn, request["max_tokens"]))
        llama.detokenize(answer)
        seconds = time.perf_counter() - began
        report = {"seconds": seconds, "tokens": len(answer), "prompt_tokens": len(tokens)}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
