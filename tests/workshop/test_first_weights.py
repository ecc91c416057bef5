"""Where a training starts: ImageNet, others' checkpoints, batch norm that is held; recipes."""

import copy
import hashlib
import io
import json
import shlex
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn
from train_child import DATA, net, small
from typer.testing import CliRunner

from deeplab_lite.models import DeepLabV3Plus, zoo
from deeplab_lite.models.zoo import build_backbone
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.train import loop, recipes, start_from, train

ROOT = Path(__file__).parents[2]


def small_plus(classes, **options):
    """v3+ on a VGG-16 of an eighth of the channels."""
    options = {"backbone": "vgg16", "width": 0.125, "batch_norm": True, "channels": 8} | options
    return DeepLabV3Plus(classes, rates=(1, 2), align_corners=True, **options)


# ---- ImageNet ----


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's folder of downloads, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server():
    """A server on this machine; its dict of files by path, with its address under ""."""
    files = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    files[""] = f"http://127.0.0.1:{http.server_port}"
    yield files
    http.shutdown()
    http.server_close()


def served(server, state):
    """The address of a state dict whose file name has the first digits of its hash."""
    content = io.BytesIO()
    torch.save(state, content)
    name = f"/net-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    server[name] = content.getvalue()
    return server[""] + name


def classifier(name, seed=0):
    """A classifier of torchvision with random weights, whose batch norm has seen something."""
    import torchvision

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = torchvision.models.get_model(name, weights=None)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(std=0.1)
                layer.running_var.uniform_(0.5, 2)
    return network.eval()


def test_a_backbone_takes_over_imagenet_s_weights_and_plain_images(hub, server, monkeypatch):
    theirs = classifier("resnet18")
    url = served(server, theirs.state_dict())
    monkeypatch.setattr(start_from, "torchvision_url", lambda backbone: url)
    ours = build_backbone("resnet18", output_stride=32).eval()
    assert start_from.start_from(ours, "imagenet") == "imagenet: the backbone's weights taken over"
    pixels = torch.rand(1, 3, 97, 97, generator=torch.Generator().manual_seed(0))
    mean, deviation = (
        torch.tensor(each)[:, None, None] for each in (start_from.MEAN, start_from.DEVIATION)
    )
    with torch.no_grad():
        expected = theirs.bn1(theirs.conv1((pixels - mean) / deviation))
        found = ours.bn1(ours.conv1(2 * pixels - 1))
    inner = (..., slice(2, -2), slice(2, -2))  # where no padding is seen
    torch.testing.assert_close(found[inner], expected[inner], rtol=1e-4, atol=1e-4)
    state = theirs.state_dict()
    for key, value in ours.state_dict().items():
        if key not in ("conv1.weight", "bn1.running_mean"):
            assert torch.equal(value, state[key]), key
    server.clear()  # a second time nothing is fetched
    start_from.start_from(build_backbone("resnet18", output_stride=16), "imagenet")


def test_vgg_takes_plain_images_too():
    vgg = build_backbone("vgg16", output_stride=8, width=0.125).eval()
    with torch.no_grad():
        vgg.features[0].bias.normal_()
    first = copy.deepcopy(vgg.features[0])
    start_from.take_plain_images(vgg)
    pixels = torch.rand(1, 3, 9, 9)
    mean, deviation = (
        torch.tensor(each)[:, None, None] for each in (start_from.MEAN, start_from.DEVIATION)
    )
    with torch.no_grad():
        expected = first((pixels - mean) / deviation)[..., 1:-1, 1:-1]
        found = vgg.features[0](2 * pixels - 1)[..., 1:-1, 1:-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_xception_s_weights_are_taken_as_they_are(hub, server, monkeypatch):
    theirs = build_backbone("xception65", output_stride=16).half().state_dict()
    url = served(server, theirs | {"head.fc.weight": torch.zeros(2, 2)})
    monkeypatch.setattr(start_from, "XCEPTION65", url)
    ours = build_backbone("xception65", output_stride=16)
    start_from.load_imagenet(ours)
    assert all(torch.equal(v, theirs[k].to(v.dtype)) for k, v in ours.state_dict().items())


def test_without_a_connection_the_sentence_says_where_the_file_belongs(hub, monkeypatch):
    monkeypatch.setattr(start_from, "XCEPTION65", "http://127.0.0.1:1/weights-0123abcd.pth")
    with pytest.raises(ConnectionError) as error:
        start_from.load_imagenet(build_backbone("xception65", output_stride=16))
    assert "weights-0123abcd.pth cannot be fetched" in str(error.value)
    assert str(error.value).endswith(f"get the file elsewhere and put it into {hub}")


def test_a_file_that_came_damaged_is_not_kept_and_one_that_is_damaged_is_told(hub, server):
    url = served(server, {"a": torch.zeros(4)})
    name = url.rpartition("/")[2]
    whole = server["/" + name]
    server["/" + name] = whole[:-1] + b"?"
    with pytest.raises(ConnectionError, match="invalid hash value"):
        start_from.fetch(url)
    assert not (hub / name).exists()
    server["/" + name] = whole
    assert start_from.fetch(url)["a"].shape == (4,)
    (hub / name).write_bytes(whole[:50])
    with pytest.raises(
        ValueError, match=r"is damaged \(.+\): move it away, and it is fetched anew"
    ):
        start_from.fetch(url)


@pytest.mark.parametrize(
    "network, told",
    [
        (
            lambda: build_backbone("resnet50", 16, stride_on="1x1"),
            r'take the option \{"stride_on": "3x3"\}',
        ),
        (lambda: build_backbone("vgg16", 8, width=0.5), "VGG16, which is not of width 1"),
        (lambda: net(), "no ImageNet weights for this Sequential"),
    ],
)
def test_backbones_that_imagenet_does_not_fit_are_told(network, told):
    with torch.device("meta"):
        made = network()
    with pytest.raises(ValueError, match=told):
        start_from.load_imagenet(made)


@pytest.mark.parametrize("name", ["v2-resnet101", "v3-resnet101", "v3plus-resnet101"])
def test_the_papers_networks_take_torchvision_s_resnet_101(name):
    import torchvision

    with torch.device("meta"):
        ours = zoo.build(name).backbone
        theirs = torchvision.models.resnet101(weights=None).state_dict()
    assert start_from.torchvision_url(ours).endswith("/resnet101-63fe2227.pth")
    named = {k: v.shape for k, v in theirs.items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == named


# ---- checkpoints of others ----


def test_from_nine_classes_to_eleven_only_the_last_layer_begins_anew(tmp_path):
    first = small_plus(9)
    torch.save(first.state_dict(), tmp_path / "nine.pt")
    network = small_plus(11)
    before = copy.deepcopy(network.classifier.state_dict())
    said = start_from.start_from(network, str(tmp_path / "nine.pt"))
    assert said.endswith(
        "it has 9 classes and this network 11, so classifier.weight, classifier.bias begin anew"
    )
    for name, value in network.classifier.state_dict().items():
        assert torch.equal(value, before[name]) and value.all(), name
    theirs = first.state_dict()
    for name, value in network.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(value, theirs[name])


def test_rows_of_the_last_layer_go_by_the_classes_names(monkeypatch):
    first, network = small_plus(3), small_plus(4)
    monkeypatch.setattr(start_from, "read", lambda source: first.state_dict())
    monkeypatch.setattr(start_from, "classes_in", lambda source: ("ground", "leaf", "stem"))
    head = ["classifier.weight", "classifier.bias"]
    before = network.classifier.weight.detach().clone()
    classes = ("stem", "flower", "ground", "leaf")
    said = start_from.start_from(network, "theirs", classes, head)
    assert said.endswith(
        "its classes are ground, leaf, stem, so the last layer's go by name, and flower begin anew"
    )
    rows, theirs = network.classifier.weight, first.classifier.weight
    assert torch.equal(rows[[2, 3, 0]], theirs) and torch.equal(rows[1], before[1])
    start_from.start_from(network, "theirs", ("1", "2", "3", "4"), head)  # numbers tell nothing
    assert torch.equal(network.classifier.weight[[2, 3, 0]], theirs)
    start_from.start_from(network, "theirs", ("Leaf", "Stem", "Flower", "Ground"), head)
    assert torch.equal(network.classifier.weight[[3, 0, 1]], theirs)  # in any case


def test_rows_of_the_last_layer_go_by_the_names_in_a_run_s_checkpoint(tmp_path):
    first, network, file = small_plus(3), small_plus(3), tmp_path / "checkpoint.pt"
    head = ["classifier.weight", "classifier.bias"]
    torch.save({"model": first.state_dict(), "classes": ["ground", "leaf", "stem"]}, file)
    start_from.start_from(network, str(file), ("stem", "leaf", "ground"), head)
    assert torch.equal(network.classifier.weight, first.classifier.weight.flip(0))
    torch.save(first.state_dict(), file)
    said = start_from.start_from(network, str(file), ("stem", "leaf", "ground"), head)
    assert said.endswith("it names no classes, so the last layer's are taken in their order")


def test_a_network_of_the_family_knows_its_head(tmp_path):
    """The shipped network's classes in another order, on a network of the family."""
    from deeplab_lite import checkpoints, scenes

    config = small(tmp_path, model="v1-small")
    network = loop.build(config, scenes.CLASSES)
    head = loop.head_of(config, scenes.CLASSES, network)
    theirs = checkpoints.load("v1-small-scenes").state_dict()
    assert head and all(len(theirs[name]) == 9 for name in head)
    start_from.start_from(network, "v1-small-scenes", scenes.CLASSES[::-1], head)
    for name in head:
        assert torch.equal(network.state_dict()[name], theirs[name].flip(0))
    assert loop.head_of(config, scenes.CLASSES, net()) == []  # a network of one's own


def test_layers_of_another_width_are_not_taken_for_a_head(tmp_path):
    torch.save(small_plus(9).state_dict(), tmp_path / "narrow.pt")
    said = start_from.start_from(small_plus(9, channels=16), str(tmp_path / "narrow.pt"))
    assert "classes" not in said and "; new: aspp.convs.0.0.weight" in said


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("key", [None, "model", "state_dict", "net"])
def test_weights_that_ddp_or_compile_named_are_read(tmp_path, prefix, key):
    state = {prefix + name: tensor for name, tensor in net().state_dict().items()}
    torch.save((state if key is None else {key: state}) | {"epoch": 3}, tmp_path / "theirs.pth")
    network = net(seed=1)
    said = start_from.start_from(network, str(tmp_path / "theirs.pth"))
    assert said.endswith("8 of 8 tensors taken over")
    assert torch.equal(network[0].weight, net()[0].weight)


@pytest.mark.parametrize("owner", ["model.", "net.student."])
def test_weights_of_a_network_that_was_a_part_of_another_are_read(tmp_path, owner):
    state = {owner + name: tensor for name, tensor in net().state_dict().items()}
    torch.save({"state_dict": state | {"metric.total": torch.ones(1)}}, tmp_path / "whole.ckpt")
    network = net(seed=1)
    said = start_from.start_from(network, str(tmp_path / "whole.ckpt"))
    assert said.endswith("8 of 8 tensors taken over")
    assert torch.equal(network[0].weight, net()[0].weight)


@pytest.mark.parametrize("name", ["model.pth", "cut.pth", "zip.pth", "cut.safetensors", "list.pt"])
def test_a_file_that_holds_no_weights_is_one_sentence_and_changes_nothing(tmp_path, name):
    torch.save(net(), tmp_path / "model.pth")
    torch.save([torch.ones(3)], tmp_path / "list.pt")
    whole = (tmp_path / "model.pth").read_bytes()
    for cut in ("cut.pth", "cut.safetensors"):
        (tmp_path / cut).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zip.pth").write_bytes(whole[:-900])
    network = net(seed=1)
    with pytest.raises(
        ValueError, match=rf"{name} (is cut short, or holds|has no tensor)"
    ) as caught:
        start_from.start_from(network, str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in net(seed=1).state_dict().items())


def test_weights_saved_on_a_gpu_are_read_on_a_cpu(tmp_path, monkeypatch):
    file = tmp_path / "gpu.pt"
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save(net().state_dict(), file)
    monkeypatch.undo()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(file, weights_only=True)
    assert start_from.start_from(net(seed=1), str(file)).endswith("8 of 8 tensors taken over")


# ---- batch norm that is held ----


def statistics(module):
    return {k: v.clone() for k, v in module.state_dict().items() if "running_" in k}


@pytest.mark.parametrize("which", ["none", "backbone", "all"])
def test_held_batch_norm_keeps_its_statistics_and_learns_its_scale(tmp_path, which):
    network = small_plus(3, width=0.0625)
    before = statistics(network)
    scales = {n: p.detach().clone() for n, p in network.named_parameters() if p.ndim == 1}
    config = small(tmp_path, steps=4, batch=4, size=33, val_every=2, ema=0, freeze_bn=which)
    train(config, network, [Padded(each) for each in DATA])
    held = {name for name, value in statistics(network).items() if torch.equal(value, before[name])}
    backbone_s = {name for name in before if name.startswith("backbone.")}
    assert held == {"none": set(), "backbone": backbone_s, "all": set(before)}[which]
    moved = [
        n for n, p in network.named_parameters() if n in scales and not torch.equal(p, scales[n])
    ]
    assert any(n.startswith("backbone.") for n in moved) and any("decoder." in n for n in moved)


class Padded(torch.utils.data.Dataset):
    """Items of 16 pixels as 33: twice as large, with a row and a column of 255 and grey."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, label = (
            x.repeat_interleave(2, -1).repeat_interleave(2, -2) for x in self.items[index]
        )
        border = (0, 1, 0, 1)
        return nn.functional.pad(image, border), nn.functional.pad(label, border, value=255)


def test_batch_norm_stays_held_through_train_synchronize_and_a_copy():
    network = nn.SyncBatchNorm.convert_sync_batchnorm(small_plus(3, width=0.0625))
    start_from.freeze(network, "backbone")
    kinds = nn.BatchNorm2d | nn.SyncBatchNorm
    for each in (network.train(), copy.deepcopy(network).train()):
        layers = [m for m in each.backbone.modules() if isinstance(m, kinds)]
        assert layers and not any(layer.training for layer in layers)
        assert each.aspp.convs[0][1].training and each.backbone.training


def test_a_backbone_that_is_not_there_is_not_frozen(tmp_path):
    with pytest.raises(
        ValueError, match="Sequential has no part called backbone; take all or none"
    ):
        train(small(tmp_path, freeze_bn="backbone"), net(), DATA)


def test_class_weights_are_as_many_as_the_classes(tmp_path):
    config = small(tmp_path, model="v1-small", class_weights=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"class_weights has 2 values for the 9 classes backgro"):
        train(config)


# ---- recipes ----


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_a_config_of_a_network_that_takes_its_crops(name):
    recipe = recipes.read(name)
    config = recipe.config()
    assert recipe.config(steps=7).steps == 7
    assert recipes.multiply_adds(config) > 1e9  # in the network, which so takes the size
    assert 0.2 < recipes.hours(recipe) < 24
    told = recipes.describe(recipe)
    for each in recipe.published:
        assert set(each) == {"miou", "what", "source"} and "arXiv:" in each["source"]
        assert f"{each['miou']} {each['what']}" in told
    assert "published mIoU, not measured here:" in told and "estimated time" in told


def test_recipes_of_the_papers_are_the_papers():
    v3 = recipes.read("voc-v3").config()
    assert (v3.size, v3.batch, v3.steps, v3.lr, v3.power) == (513, 16, 30_000, 0.007, 0.9)
    second = recipes.read("voc-v3-os8").config()
    assert (second.lr, second.freeze_bn, second.changes()["output_stride"]) == (0.001, "all", 8)
    assert second.init == f"{v3.folder}/{v3.name}.safetensors"
    v2 = recipes.read("voc-v2").config()
    assert (v2.size, v2.batch, v2.steps, v2.head_lr) == (321, 10, 20_000, 10)


def test_published_scores_are_those_of_the_ledger():
    from facts import FACTS

    known = {fact.quote for fact in FACTS}
    for name in recipes.names():
        if name.startswith("voc"):
            assert {each["miou"] for each in recipes.read(name).published} <= known


def test_flags_override_a_recipe(monkeypatch):
    configs = []
    done = loop.Trained(nn.Identity(), {"miou": 0.5}, None)
    monkeypatch.setattr(loop, "train", lambda config: configs.append(config) or done)
    words = ["train", "--recipe", "camvid-v3plus", "--batch", "16", "--no-channels-last"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    expected = recipes.read("camvid-v3plus").config(batch=16, channels_last=False)
    assert configs == [expected] and expected.lr == 5e-4
    result = CliRunner().invoke(app, ["train", "--recipe", "camvid"])
    assert result.exit_code == 1 and len(configs) == 1


@pytest.mark.parametrize("name", recipes.names())
def test_the_flags_of_a_recipe_train_the_same(name, monkeypatch):
    configs = []
    done = loop.Trained(nn.Identity(), {"miou": 0.5}, None)
    monkeypatch.setattr(loop, "train", lambda config: configs.append(config) or done)
    wanted = recipes.read(name).config()
    result = CliRunner().invoke(app, shlex.split(wanted.command())[3:])
    assert result.exit_code == 0, result.output
    assert configs[0].exact() == wanted.exact()


def test_the_list_of_recipes():
    text = CliRunner().invoke(app, ["recipes"]).output
    assert all(name in text for name in recipes.names())
    assert "not ours" in text and "estimates" in text
    one = CliRunner().invoke(app, ["recipes", "voc-v3plus"])
    assert "78.85" in one.output and one.exit_code == 0
    assert CliRunner().invoke(app, ["recipes", "voc"]).exit_code == 1


def test_recipes_are_plain_data():
    folder = ROOT / "deeplab_lite" / "workshop" / "train" / "recipes"
    for name in recipes.names():
        content = json.loads((folder / f"{name}.json").read_text())
        assert set(content) == {"about", "device", "choices", "published", "notes"}
        assert content["device"] in recipes.SPEED
