"""Which state of a BLIP-VQA tells attributes apart best: the candidates of AttributeEmbed on pictures with known \
labels.

The paper's BLIP-VQA is too large for this repository and the demo set. So a small network of the same class, from the
transformers library, is trained here to answer three questions about the training pictures: skin tone, kind, and what
it is. Then each held-out picture is asked, every candidate state is clustered, and the adjusted Rand index against the
labels is measured over random subsets; beside them the vision network's own class token, which has not heard the
question. What a small network does need not hold for the large one.
"""
from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from support import (
    ATTRIBUTES,
    DIMENSIONS,
    ICONS,
    PER_LABEL,
    agreement,
    as_pictures,
    fill_in,
    labelled_pictures,
    labels_of,
    parse_arguments,
    print_table,
    with_interval,
    write_figures,
)

import dataset
from mental_averages.dma import encoders

QUESTIONS = {"skin_tone": "what is the skin tone?", "kind": "what kind of thing is it?"}
NAME_QUESTION = "what is it?"
SHARES = {QUESTIONS["skin_tone"]: 0.4, QUESTIONS["kind"]: 0.35, NAME_QUESTION: 0.25}  # of what is asked in training
PAD, UNKNOWN, START, END, BEGIN = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"
SIZE, WIDTH, BATCH, PEAK = 64, 160, 64, 1e-3


def examples_of(pictures: list[dataset.Picture]) -> tuple[list[tuple[int, str, str]], np.ndarray]:
    """Row, question and answer of everything that can be asked about the pictures, and how often to ask it (sums to
    1)."""
    answers = {NAME_QUESTION: [picture.concept for picture in pictures],
               **{question: labels_of(attribute, pictures) for attribute, question in QUESTIONS.items()}}
    weight = dataset.sampling_weights(pictures)
    examples, probability = [], []
    for question, share in SHARES.items():
        rows = [row for row, answer in enumerate(answers[question]) if answer]
        examples += [(row, question, answers[question][row]) for row in rows]
        probability.append(share * weight[rows] / weight[rows].sum())
    return examples, np.concatenate(probability)


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())


def write_network(folder: Path, vocabulary: list[str]):
    """A BLIP-VQA with fresh weights in a folder of the transformers format; returns network and tokenizer."""
    from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessor

    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)},
                              additional_special_tokens=[BEGIN])
    end = vocabulary.index(END)
    text = dict(vocab_size=len(vocabulary), hidden_size=WIDTH, encoder_hidden_size=WIDTH, intermediate_size=4 * WIDTH,
                num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=32,
                pad_token_id=vocabulary.index(PAD), bos_token_id=vocabulary.index(BEGIN), eos_token_id=end,
                sep_token_id=end)
    vision = dict(hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=4,
                  image_size=SIZE, patch_size=16)
    torch.manual_seed(0)
    network = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision))
    tokenizer.save_pretrained(folder)
    BlipImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return network, tokenizer


def train(network, tokenizer, images: torch.Tensor, examples: list[tuple[int, str, str]], probability: np.ndarray,
          steps: int) -> None:
    """Teach the network to answer; pictures (N, 3, H, W) are normalised as its processor does."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=steps, pct_start=0.1)
    network.train()
    started = time.monotonic()
    for step in range(steps):
        generator = np.random.default_rng(step)
        rows, questions, answers = zip(*(examples[number]
                                         for number in generator.choice(len(examples), BATCH, p=probability)))
        question = tokenizer(list(questions), padding=True, return_tensors="pt")
        answer = tokenizer([f"{BEGIN} {answer} {END}" for answer in answers], padding=True, add_special_tokens=False,
                           return_tensors="pt")
        labels = answer["input_ids"].masked_fill(answer["attention_mask"] == 0, -100)
        loss = network(input_ids=question["input_ids"], attention_mask=question["attention_mask"],
                       pixel_values=images[list(rows)], decoder_input_ids=answer["input_ids"],
                       decoder_attention_mask=answer["attention_mask"], labels=labels).loss.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}, "
                  f"{(time.monotonic() - started) / (step + 1):.2f} s a step", flush=True)
    network.eval()


def trained_encoder(folder: Path, data: Path, steps: int) -> encoders.ImageEncoder:
    pictures, images = dataset.load(data, SIZE)
    rows = [row for row, picture in enumerate(pictures) if not picture.held_out]
    examples, probability = examples_of([pictures[row] for row in rows])
    spoken = sorted({word for _, *texts in examples for text in texts for word in words(text)})
    network, tokenizer = write_network(folder, [PAD, UNKNOWN, START, END, BEGIN, "[MASK]", *spoken])
    from transformers import BlipImageProcessor

    processor = BlipImageProcessor.from_pretrained(folder)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    normalised = (as_pictures(images[rows]).permute(0, 3, 1, 2) - mean) / deviation  # (N, 3, H, W)
    train(network, tokenizer, normalised, examples, probability, steps)
    network.save_pretrained(folder)
    return encoders.load_encoder(folder)


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], steps=dict(type=int, help="of training"),
        subsets=dict(type=int, help="of real pictures"),
        data=ICONS,
        network=dict(type=Path, help="write the network here, for example into ComfyUI's models/image_encoders"))
    fill_in(arguments, steps=(5000, 200), subsets=(20, 4))
    steps, subsets = arguments.steps, arguments.subsets
    with tempfile.TemporaryDirectory() as written:
        encoder = trained_encoder(arguments.network or Path(written), arguments.data, steps)
    rows, figures = [], {}
    for attribute in ATTRIBUTES:
        images, labels = labelled_pictures(attribute, arguments.data)
        found = {state: encoders.question_states(encoder, images, QUESTIONS[attribute.name], state=state)
                 for state in encoders.STATES}
        answers = found["answer_start"].answers
        right = float(np.mean([answer == attribute.labels[label] for answer, label in zip(answers, labels)]))
        embeddings = {state: answered.values for state, answered in found.items()}
        embeddings["picture alone"] = encoders.embed_images(encoder, images)
        print(f"{attribute.name}: {len(images)} held-out pictures, {right:.3f} answered right", flush=True)
        figures[f"right_{attribute.name}"] = right
        for state, measured in agreement(embeddings, labels, subsets).items():
            share = float(np.mean(np.array(measured["found"]) == len(attribute.labels)))
            rows.append([attribute.name.replace("_", " "), state, with_interval(measured["ari"]),
                         with_interval(measured["ari_by_bic"]), f"{100 * share:.0f} %"])
            figures[f"ari_{attribute.name}_{state.replace(' ', '_')}"] = float(np.mean(measured["ari"]))
    print(f"\nA BLIP-VQA of {sum(weights.numel() for weights in encoder.network.parameters()) / 1e6:.1f} M weights, "
          f"{steps} steps; {subsets} random subsets with {PER_LABEL} held-out pictures per label, {DIMENSIONS} "
          "principal components.\n")
    print_table(["labels", "state", "agreement, number of labels given", "agreement, number by BIC",
                 "BIC finds the true number"], rows)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
