"""How much memory does teaching a language model need, against the plain cross-entropy step of the student alone?

    python benchmarks/lm_memory.py [--vocabulary 49152] [--length 256] [--batch 4] [--precision bfloat16]

Each case runs in a process of its own for a few steps of Llamas of random weights, in the shape of SmolLM2-135M (30
layers of 576) and of half of its layers. Given is the peak of resident memory above what the process holds once both
models' weights are there: gradients, activations, logits. The optimiser's step is left out: it is the same in all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from resident import peak_of

CASES = (
    "plain cross-entropy",
    "cross-entropy",
    "cross-entropy, forward KL",
    "cross-entropy, forward KL, whole",
    "cross-entropy, reverse KL",
    "cross-entropy, top 64",
)
STEPS = 2


def child(case: str, arguments: argparse.Namespace) -> None:
    import torch
    import torch.nn.functional as F
    import transformers

    import layerlink as ll

    torch.manual_seed(0)

    def llama(layers: int) -> torch.nn.Module:
        config = transformers.LlamaConfig(
            vocab_size=arguments.vocabulary,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=layers,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
            use_cache=False,
        )
        return transformers.LlamaForCausalLM(config)

    teacher, student = llama(30).eval().requires_grad_(False), llama(15).train()
    half = torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bfloat16")
    tokens = torch.randint(0, arguments.vocabulary, (arguments.batch, arguments.length))
    how = {"soft": ll.Soft(temperature=1)} if "forward" in case else {}
    if "reverse" in case:
        how = {"links": ["@output : kd(temperature=1.0, form=reverse)"]}
    if "top" in case:
        how = {"links": ["@output : topk_kl(k=64)"]}
    few = {"input_ids": tokens[:2, :8]}
    distiller = None
    if not case.startswith("plain"):
        with half:
            distiller = ll.Distiller(teacher if how else None, student, example=few, task="causal-lm", **how).train()
        if "whole" in case:
            distiller.compare_whole()
    with half:
        student(input_ids=few["input_ids"]).logits.sum().backward()  # what a first step loads is not its memory
    student.zero_grad()
    seconds = []

    def steps() -> None:
        for _ in range(STEPS):
            start = time.perf_counter()
            with half:
                if distiller is None:
                    logits = student(input_ids=tokens).logits
                    loss = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten())
                else:
                    loss = distiller({"input_ids": tokens}, tokens).total
            loss.backward()
            del loss
            logits = None
            student.zero_grad()
            seconds.append(time.perf_counter() - start)

    print(peak_of(steps), min(seconds))


def measured(case: str, given: list[str]) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, *given, "--child", case], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    peak, seconds = done.stdout.split()[-2:]
    return float(peak), float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=49152)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments)
        return
    size = f"{arguments.batch} x {arguments.length} tokens, {arguments.vocabulary:,} words, {arguments.precision}"
    print(f"{size}; the best of {STEPS} steps\n")
    print("| step | peak beyond both models' weights, MB | of plain | seconds |\n|---|---:|---:|---:|")
    plain = 0.0
    for case in CASES:
        peak, seconds = measured(case, sys.argv[1:])
        plain = plain or peak
        print(f"| {case} | {peak:,.0f} | {peak / plain:.2f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
