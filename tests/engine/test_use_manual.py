"""nag.use_manual: operations that are derived by hand, computed as they are written to be read."""

import asyncio
import subprocess
import sys
import threading

import numpy as np
import pytest

import nanoautograd as nag
from models.gpt import GPT, Config
from nanoautograd import functional as F
from nanoautograd import optim
from nanoautograd.custom_vjp import MANUAL, Form
from nanoautograd.manual.softmax import softmax


@pytest.fixture
def called(monkeypatch):
    """What the forms of softmax were asked for, in order."""
    calls = []

    def noted(form, name):
        def forward(*args, **options):
            calls.append(f"{name} forward")
            return form.forward(*args, **options)

        def backward(*args):
            calls.append(f"{name} backward")
            return form.backward(*args)

        return Form(forward, backward)

    monkeypatch.setattr(softmax, "cpu", noted(softmax.cpu, "cpu"))
    monkeypatch.setattr(softmax, "cuda", noted(softmax.cuda, "cuda"))
    monkeypatch.setattr(softmax, "manual", noted(softmax.manual, "manual"))
    return calls


def test_it_takes_the_readable_form_on_every_backend(backend, called):
    x = backend.tensor(np.eye(3), requires_grad=True)
    with nag.use_manual():
        y = F.softmax(x)
        y.sum().backward()
    assert called == ["manual forward", "manual backward"]
    np.testing.assert_allclose(backend.numpy(y.detach()), F.softmax(np.eye(3)))


def test_a_node_keeps_the_form_that_it_was_recorded_with(called):
    x = nag.Tensor(np.eye(3), requires_grad=True)
    with nag.use_manual():
        read = F.softmax(x)
    fast = F.softmax(x)
    called.clear()
    read.backward(np.ones((3, 3)))
    with nag.use_manual():
        fast.backward(np.ones((3, 3)))
    assert called == ["manual backward", "cpu backward"]


def test_it_is_of_a_thread_and_of_a_task(called):
    x = np.eye(3)

    async def other(inside):
        inside.set()
        await asyncio.sleep(0)
        F.softmax(x)

    async def main():
        inside = asyncio.Event()
        task = asyncio.ensure_future(other(inside))
        await inside.wait()
        with nag.use_manual():
            await task

    asyncio.run(main())
    with nag.use_manual():
        thread = threading.Thread(target=F.softmax, args=(x,))
        thread.start()
        thread.join()
    assert called == ["cpu forward", "cpu forward"]


def test_use_manual_is_a_decorator_too(called):
    nag.use_manual()(F.softmax)(np.eye(3))
    F.softmax(np.eye(3))
    assert called == ["manual forward", "cpu forward"]


@pytest.mark.parametrize("value, on", [("1", True), ("0", False), ("", False)])
def test_the_variable_of_the_environment(value, on):
    code = "from nanoautograd.custom_vjp import MANUAL; print(bool(MANUAL.get()))"
    environment = {"NANOAUTOGRAD_MANUAL": value, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(on)


def test_another_value_of_the_variable_is_refused():
    environment = {"NANOAUTOGRAD_MANUAL": "true", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", "import nanoautograd"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode and "NANOAUTOGRAD_MANUAL is 1 or 0; got 'true'" in done.stderr


def test_training_gives_the_same_losses():
    def losses():
        rng = np.random.default_rng(0)
        model = GPT(Config(vocab_size=11, block_size=8, layers=2, heads=2, d_model=16), rng)
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        found = []
        for _ in range(5):
            x = rng.integers(0, 11, (4, 9))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[:, :-1])[0].reshape(-1, 11), x[:, 1:].reshape(-1))
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            found.append(loss.item())
        return found

    fast = losses()
    with nag.use_manual():
        read = losses()
    np.testing.assert_allclose(read, fast, rtol=2e-5)
    assert not MANUAL.get() and fast[-1] < fast[0]
