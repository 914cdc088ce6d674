"""Private names of Keras and KerasHub: each is used in one file, and what is installed has it.

A test that fails here after an update says which file has to find another way.
"""

import inspect
import re
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

import keras_regvq
from keras_regvq.models.priors.autoregressive.decoder_block import DecoderBlock
from tests.models.priors.tiny_prior import make_image_tokenizer

PACKAGE = Path(keras_regvq.__file__).parent
VERSIONS = f"Keras {keras.__version__} and KerasHub {keras_hub.__version__}"

# What may be in one file alone, by a pattern of how it is used.
ONE_FILE = {
    r"keras_hub\.src": "files/preset_files.py",
    r"\._save_(serialized_object|metadata)\b": "files/preset_files.py",
    r"\bkeras\.src": "files/keras_weights.py",
    r"saving_lib\._|\b_(loss_tracker|compile_metrics|compile_loss)\b": "files/keras_weights.py",
    r"\._flatten_layers\b": "backend/layer_tree.py",
    r"\._value\b": "backend/fit_state.py",
    r"\b_(self_attention_layer|feedforward_layer_norm|feedforward_(intermediate|output)_dense)\b"
    r"|\b_(query|key|value|output)_dense\b": "models/priors/autoregressive/decoder_block.py",
    r"\b_run_through_graph\b|\"_initialized\"": "models/preset_model.py",
    r"\b_(reorder_linear_weight|linear_pointwise)\b": "backend/sampling_steps.py",
    r"\b_update_model_variables_moving_average\b": "backend/averaged_weights.py",
    r"\b_all_reduce_sum_gradients\b": "backend/replicas.py",
    r"\b_should_use_adamw\b": "training/muon.py",
    r"\b_(backend_update_step|get_variable_index)\b": "backend/torch_optimizers.py",
    r"\b_model_variables_moving_average\b": "backend/torch_optimizers.py",
    r"\._initial_epoch\b": "training/callbacks/backup.py",
    r"\._(iterations|trainable_variables)\b": "training/adversarial/two_player_optimizer.py",
}


@pytest.mark.parametrize("pattern", ONE_FILE)
def test_a_private_name_is_used_in_one_file(pattern):
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found == {ONE_FILE[pattern]}


def check(owner, names, file):
    missing = [name for name in names if not hasattr(owner, name)]
    assert not missing, f"{VERSIONS}: {owner!r} has no {missing}; {file} has to find another way"


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of PyTorch")
def test_pytorch_has_the_products_of_weights_that_it_has_laid_out():
    """Without them sampling works, and takes half as long again."""
    import torch

    if torch.backends.mkldnn.is_available():
        names = ["_reorder_linear_weight", "_linear_pointwise"]
        check(torch.ops.mkldnn, names, "backend/sampling_steps.py")


def test_keras_optimizers_have_what_is_replaced_in_them():
    averages = ["_update_model_variables_moving_average", "ema_momentum"]
    check(keras.optimizers.Adam(use_ema=True), averages, "backend/averaged_weights.py")
    if keras.backend.backend() == "tensorflow":
        check(keras.optimizers.Adam, ["_all_reduce_sum_gradients"], "backend/replicas.py")
    names = ["_should_use_adamw", "zeropower_via_newtonschulz5", "lr_adjust"]
    check(keras.optimizers.Muon, names, "training/muon.py")
    updates = ["_backend_update_step", "_get_variable_index"]
    check(keras.optimizers.Muon, updates, "backend/torch_optimizers.py")
    built = keras.optimizers.Muon(0.1, use_ema=True)
    built.build([keras.Variable(np.ones((2, 2)))])
    lists = ["momentums", "adam_velocities", "_model_variables_moving_average"]
    check(built, lists, "backend/torch_optimizers.py")


def test_kerashub_has_what_a_decoder_block_is_made_of():
    block = DecoderBlock(8, 2)
    block.build((None, 3, 8))
    file = "models/priors/autoregressive/decoder_block.py"
    names = ["_self_attention_layer", "_self_attention_layer_norm", "_feedforward_layer_norm"]
    check(block, [*names, "_feedforward_intermediate_dense", "_feedforward_output_dense"], file)
    dense = [f"_{name}_dense" for name in ("query", "key", "value", "output")]
    check(block._self_attention_layer, dense, file)
    shapes = {name: tuple(part.kernel.shape) for name, part in block.parts()._asdict().items()
              if hasattr(part, "kernel")}  # fmt: skip
    heads = {name: (8, 2, 4) for name in ("query", "key", "value")}
    feedforward = {"feedforward_hidden": (8, 32), "feedforward_output": (32, 8)}
    assert shapes == {**heads, "attention_output": (2, 4, 8), **feedforward}
    # No more and no less than the block's weights.
    counted = sum(part.count_params() for part in block.parts())
    assert counted == block.count_params()


def test_kerashub_has_what_presets_are_fetched_and_written_with():
    from keras_hub.src.utils import preset_utils

    file = "files/preset_files.py"
    check(preset_utils, ["get_file", "get_preset_saver"], file)
    assert list(inspect.signature(preset_utils.get_file).parameters)[:2] == ["preset", "path"]
    saver = preset_utils.KerasPresetSaver
    check(saver, ["_save_serialized_object", "_save_metadata"], file)


def test_keras_has_what_weights_files_are_written_and_read_with():
    from keras.src.saving import saving_lib

    file = "files/keras_weights.py"
    check(saving_lib, ["_save_state", "_load_state", "H5IOStore"], file)
    for function in (saving_lib._save_state, saving_lib._load_state):
        names = list(inspect.signature(function).parameters)
        assert names[:4] == ["saveable", "weights_store", "assets_store", "inner_path"], file
    model = compiled()
    check(model, ["optimizer", "_loss_tracker", "_compile_metrics", "_compile_loss"], file)


def test_keras_has_what_layers_variables_and_optimizers_are_asked_for():
    model = compiled()
    check(model, ["_flatten_layers"], "backend/layer_tree.py")
    first, *others = model._flatten_layers()
    assert first is model and all(layer in others for layer in model.layers)
    check(model.weights[0], ["_value"], "backend/fit_state.py")
    names = ["_iterations", "_trainable_variables"]
    check(model.optimizer, names, "training/adversarial/two_player_optimizer.py")
    check(make_image_tokenizer(), ["_run_through_graph", "_initialized"], "models/preset_model.py")


def test_keras_starts_a_fit_at_the_epoch_that_a_backup_tells_it():
    model = compiled()
    model._initial_epoch = 2
    history = model.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=3, verbose=0)
    assert history.epoch == [2], f"{VERSIONS}: training/callbacks/backup.py cannot go on"


def compiled():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    return model
