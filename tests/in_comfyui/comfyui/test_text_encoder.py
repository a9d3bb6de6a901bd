"""A CLIP with trainable vectors among its tokens, small ones of SD1.5 and SDXL."""
import pytest
import torch
from embeddings import content, encode, slopes, train


@pytest.mark.parametrize("name, template", [("SD1.5", "a photo of {}"), ("SDXL", "a photo of {}"),
                                            ("SDXL", "a (red:1.4) ({}:0.7), night")])
def test_gradient_equals_finite_differences(case, name, template):
    made = case(name)
    found = slopes(made, template, 1e-2)
    assert len(found) == {"SD1.5": 1, "SDXL": 2}[name]
    for by_gradient, by_difference in found:
        assert by_gradient > 5e-4 and by_gradient == pytest.approx(by_difference, rel=5e-3)
    checkpointed = slopes(made, template, 1e-2, save_memory=True)
    assert [gradient for gradient, _ in checkpointed] == pytest.approx([gradient for gradient, _ in found], rel=1e-4)


def test_gradient_of_the_pooled_text_is_part_of_it(case):
    """SDXL's second encoder reaches the model by its pooled output too: with tokens cut off from the model it is all
    there is."""
    made = case("SDXL")
    network = made["model"].model.diffusion_model
    with torch.inference_mode():
        for key, parameter in network.named_parameters():
            if "attn2.to_v" in key:
                parameter.zero_()
    first, second = slopes(made, "{}", 3e-3)
    assert first == (0.0, 0.0)
    assert second[0] > 1e-3 and second[0] == pytest.approx(second[1], rel=1e-2)


@pytest.mark.parametrize("name", ["SD1.5", "SDXL"])
@pytest.mark.parametrize("template",
                         ["a photo of {}", "{}", "old (red:1.3) ({}:0.8), castle at night", "word " * 72 + "{} end"])
def test_training_encodes_what_the_file_gives(case, embeddings, name, template):
    from mental_averages.nodes import comfyui

    made = case(name)
    with torch.inference_mode(False), torch.no_grad():
        prompt = comfyui.prompt_with_vectors(made["clip"], template, 3)
        vectors = [torch.randn(values.shape, generator=torch.Generator().manual_seed(2))
                   for values in prompt.vectors("a", 3)]
        start = prompt.encode(vectors)
        with comfyui.differentiable_encoding(prompt) as differentiable, torch.enable_grad():
            live = differentiable([values.clone().requires_grad_() for values in vectors])
    path = comfyui.embedding_path("castles/one.v1")
    content = dict(zip(comfyui.encoders(made["clip"]), vectors))
    comfyui.write_embedding("castles/one.v1", path, content, {"a": 1}, False)
    expected = encode(made["clip"], template.replace("{}", "embedding:castles/one.v1"))
    for found in (start, live):
        assert torch.equal(found[0][0], expected[0][0])
        assert torch.equal(found[0][1]["pooled_output"], expected[0][1]["pooled_output"])
    assert live[0][0].requires_grad and live[0][1].keys() == expected[0][1].keys()
    if name == "SDXL":
        assert live[0][1]["pooled_output"].requires_grad
    assert not torch.equal(encode(made["clip"], template.replace("{}", "castle"))[0][0][:, :77], expected[0][0][:, :77])


@pytest.mark.parametrize("name", ["SD1.5", "SDXL"])
@pytest.mark.parametrize("template, spaced", [
    ("{},x", "{}, x"), ("red,{},x", "red, {}, x"), ("a photo of {}.", "a photo of {} ."), ("[{}]", "[ {} ]"),
    ("({}:0.7),x", "({}:0.7),x"), ("({},x:0.7)", "({}, x:0.7)")])
def test_what_touches_the_vectors_is_no_part_of_their_name(case, name, template, spaced):
    """Core would look for an embedding called `mode,x`; with the space the tokens are those of the same words."""
    from mental_averages.nodes import comfyui

    clip = case(name)["clip"]
    found, expected = (comfyui.prompt_with_vectors(clip, text, 2).tokens for text in (template, spaced))
    assert found == expected
    plain = clip.tokenize(template.replace("{}", " castle "), return_word_ids=False)
    for key, sections in found.items():
        words = [token[0] for section in sections for token in section if isinstance(token[0], int)]
        castle = clip.tokenize("castle")[key][0][1][0]
        assert [word for word in words if word][:8] == [
            token[0] for section in plain[key] for token in section if token[0] != castle and token[0]][:8]


def test_vectors_start_at_the_initial_text(case, embeddings):
    """Repeated or cut to the number that is asked for; an earlier embedding is as good as words."""
    from mental_averages.nodes import comfyui

    made = case("SD1.5")
    table = made["clip"].cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    ids = [token for token, _ in made["clip"].tokenize("red castle")["l"][0][1:3]]
    with torch.inference_mode(False), torch.no_grad():
        prompt = comfyui.prompt_with_vectors(made["clip"], "{}", 5)
        assert torch.equal(prompt.vectors("red castle", 5)[0], table[[ids[index % 2] for index in range(5)]])
        assert torch.equal(prompt.vectors("red castle", 1)[0], table[ids[:1]])
    train(made, vectors=3)
    with torch.inference_mode(False), torch.no_grad():
        assert torch.equal(prompt.vectors("red embedding:mode", 4)[0],
                           torch.cat([table[ids[:1]], content(embeddings)["clip_l"]]))
