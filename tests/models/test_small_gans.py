"""The re-imaging paper's networks: exact parameter counts, shapes, save and load, clear errors."""

import json

import pytest
import torch
from torch import nn

import maskhub
from maskhub import (
    AttributeClassifier,
    ConfigError,
    DcganDiscriminator,
    DcganGenerator,
    DenseDiscriminator,
    DenseGenerator,
)

GENERATORS = {
    "dense": (DenseGenerator, {"hidden": (16, 24), "latent": 7}),
    "dcgan-32": (DcganGenerator, {"resolution": 32, "width": 4, "latent": 7}),
    "dcgan-64-resize": (DcganGenerator, {"resolution": 64, "width": 4, "upsampling": "resize", "norm": "instance"}),
    "dcgan-128": (DcganGenerator, {"resolution": 128, "width": 2}),
}
DISCRIMINATORS = {
    "dense": (DenseDiscriminator, {"hidden": (16,), "dropout": 0.3}, 1),
    "dcgan-32": (DcganDiscriminator, {"resolution": 32, "width": 4}, 1),
    "dcgan-64": (DcganDiscriminator, {"width": 4, "norm": "instance"}, 1),
    "dcgan-128": (DcganDiscriminator, {"resolution": 128, "width": 2}, 1),
    "classifier": (AttributeClassifier, {"width": 4, "hidden": (8,)}, 3),
    "classifier-64": (AttributeClassifier, {"width": 4, "hidden": (), "labels": ("yes", "no"), "resolution": 64}, 2),
}


def counts(network):
    """Trainable values, and running statistics without the batch counters, which Keras does not have."""
    trained = sum(parameter.numel() for parameter in network.parameters())
    return trained, sum(b.numel() for name, b in network.named_buffers() if "running" in name)


@pytest.mark.parametrize(
    ("kind", "trained", "running"),
    [
        (DenseGenerator, 3_992_576, 4_096),
        (DenseDiscriminator, 3_425_665, 0),
        (AttributeClassifier, 35_646_595 - 1_536, 1_536),
    ],
)
def test_the_papers_counts(kind, trained, running):
    with torch.device("meta"):
        assert counts(kind()) == (trained, running)


def test_the_papers_layers():
    with torch.device("meta"):
        generator, discriminator = DenseGenerator(), DenseDiscriminator()
        classifier = AttributeClassifier()
    sizes = [(m.in_features, m.out_features) for m in generator.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(100, 512), (512, 512), (512, 1024), (1024, 3072)]
    sizes = [(m.in_features, m.out_features) for m in discriminator.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(3072, 1024), (1024, 256), (256, 64), (64, 1)]
    assert [m.out_channels for m in classifier.modules() if isinstance(m, nn.Conv2d)] == [128, 128, 256, 256]


@pytest.mark.parametrize(
    ("options", "between"),
    [({}, [nn.LeakyReLU, nn.BatchNorm1d]), ({"order": "norm-activation"}, [nn.BatchNorm1d, nn.LeakyReLU])],
)
def test_the_order_of_the_generators_layers(options, between, tmp_path):
    """Dense, LeakyReLU, batch norm in the thesis; a config saved before the option existed has the norm first."""
    generator = DenseGenerator(hidden=(8, 8), latent=4, resolution=4, **options)
    kinds = [type(layer) for layer in generator.stack]
    assert kinds == [nn.Linear, *between, nn.Linear, *between, nn.Linear, nn.Tanh]
    generator.save_pretrained(tmp_path)
    assert [type(layer) for layer in DenseGenerator.from_pretrained(tmp_path).stack] == kinds
    config = json.loads((tmp_path / "config.json").read_text())
    del config["order"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    if options:
        again = DenseGenerator.from_pretrained(tmp_path)
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), generator.parameters(), strict=True))
        assert [type(layer) for layer in again.stack] == kinds


SAME = 1e-5
"""Equal weights give equal outputs up to rounding: math libraries choose their kernels by a tensor's alignment too."""


@pytest.fixture(params=GENERATORS, ids=str)
def generator(request):
    kind, options = GENERATORS[request.param]
    torch.manual_seed(0)
    return kind(**options).eval()


@pytest.fixture(params=DISCRIMINATORS, ids=str)
def discriminator(request):
    kind, options, outputs = DISCRIMINATORS[request.param]
    torch.manual_seed(0)
    return kind(**options).eval(), outputs


def test_a_generator_makes_pictures(generator):
    side = generator.config.resolution
    made = generator(torch.randn(3, generator.config.latent))
    assert made.shape == (3, 3, side, side)
    assert made.abs().max() <= 1 and made.std() > 0
    assert not torch.equal(made[0], made[1])


def test_a_generator_names_the_shape_that_it_wants(generator):
    for wrong in (torch.randn(2, 5), torch.randn(2, generator.config.latent, 1), None):
        with pytest.raises(ConfigError, match=f"expected noise of shape N×{generator.config.latent}"):
            generator(wrong)


def test_a_discriminator_gives_logits(discriminator):
    network, outputs = discriminator
    side = network.config.resolution
    logits = network(torch.rand(3, 3, side, side) * 2 - 1)
    assert logits.shape == (3, outputs)
    with pytest.raises(ConfigError, match=f"multiples of {side}"):
        network(torch.zeros(1, 3, side + 4, side + 4))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_generators_survive_saving(generator, variant, tmp_path):
    latents = torch.randn(2, generator.config.latent)
    expected = generator(latents)
    (generator.half() if variant else generator).save_pretrained(tmp_path, variant=variant)
    again = type(generator).from_pretrained(tmp_path, variant=variant, dtype=torch.float32)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert (again.eval()(latents) - expected).abs().max() < (0.02 if variant else SAME)


def test_discriminators_survive_saving(discriminator, tmp_path):
    network, _ = discriminator
    network.save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path).eval()
    images = torch.rand(2, 3, network.config.resolution, network.config.resolution)
    ours, loaded = network.state_dict(), again.state_dict()
    assert ours.keys() == loaded.keys() and all(torch.equal(loaded[name], ours[name]) for name in ours)
    assert (again(images) - network(images)).abs().max() < SAME
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == type(network).__name__
    assert getattr(maskhub, type(network).__name__) is type(network)


def test_everything_learns(generator, discriminator):
    network, _ = discriminator
    generator.train(), network.train()
    if generator.config.resolution != network.config.resolution:
        return
    network(generator(torch.randn(4, generator.config.latent))).sum().backward()
    assert all(parameter.grad is not None for part in (generator, network) for parameter in part.parameters())


def test_the_feature_maps_of_the_convolutions():
    """Figures 21 and 22: what the first and the fourth convolution give, before norm and activation."""
    classifier, images = AttributeClassifier(width=4, hidden=(8,)).eval(), torch.rand(2, 3, 32, 32) * 2 - 1
    first = classifier.feature_maps(images)
    assert torch.allclose(first, classifier.features[0](images))
    last = classifier.feature_maps(images, -1)
    assert (first.shape, last.shape) == ((2, 4, 32, 32), (2, 8, 16, 16))
    assert torch.equal(last, classifier.feature_maps(images, 3))
    with pytest.raises(ConfigError, match="convolution is 4; it must be from -4 to 3"):
        classifier.feature_maps(images, 4)


def test_a_distribution_has_the_labels_and_sums_to_one():
    classifier = AttributeClassifier(("a", "b"), "kind", width=4, hidden=(8,)).eval()
    for odds in classifier.distribution(torch.rand(3, 3, 32, 32) * 2 - 1):
        assert list(odds) == ["a", "b"] and sum(odds.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (DcganGenerator, {"resolution": 48}, "resolution is 48; it must be one of 32, 64, 128"),
        (DcganGenerator, {"upsampling": "other"}, "it must be one of"),
        (DcganDiscriminator, {"norm": "other"}, "it must be one of"),
        (DenseGenerator, {"hidden": ()}, "hidden is"),
        (DenseDiscriminator, {"resolution": 512}, "resolution is 512"),
        (AttributeClassifier, {"labels": ("one",)}, "labels is .*; it must be 2 to 1000 values"),
        (AttributeClassifier, {"labels": ("one", "one")}, "two or more distinct labels"),
        (AttributeClassifier, {"resolution": 30}, "a multiple of 4 and from 8 to 256"),
    ],
)
def test_impossible_options_are_named(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        kind(**options)
