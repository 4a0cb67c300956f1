"""Products by cuBLAS: what it is asked for, computed by NumPy as the call describes it; and, where
there is a GPU, by itself."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import backends
from nanoautograd.backends import available, to_device
from nanoautograd.kernels.cuda.runtime import cublas
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision, precision
from nanoautograd.manual.linear import linear

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {
    0: np.dtype("float32"),
    1: np.dtype("float64"),
    2: np.dtype("float16"),
    14: np.dtype(ml_dtypes.bfloat16),
}


class Device(np.ndarray):
    """A NumPy array with what the code asks of CuPy's: `data.ptr`, `data.mem` and `device.id`."""

    device = SimpleNamespace(id=0)

    @property
    def data(self):
        root = self
        while root.base is not None:
            root = root.base
        return Pointer(self.__array_interface__["data"][0], id(root))


class Pointer:
    def __init__(self, ptr, mem):
        self.ptr, self.mem = ptr, Memory.of(mem)


class Memory:
    known = {}

    @classmethod
    def of(cls, key):
        return cls.known.setdefault(key, cls())


class Fake:
    """A cuBLAS that writes down its calls and does what they say, matrix by matrix, column by
    column; and as much of CuPy as the Handle asks for."""

    def __init__(self, capability="90", stream=7):
        self.calls, self.fails, self.ptr = [], {}, stream
        self.compute_capability, self.allocated = capability, []
        self.cuda = self.runtime = self

    # CuPy
    def get_current_stream(self):
        return self

    def Device(self, number):
        return self

    def getDevice(self):
        return 0

    def memGetInfo(self):
        return 1000, 80_000

    def alloc(self, n):
        self.allocated.append(np.empty(n, np.uint8).view(Device).data)
        return self.allocated[-1]

    # cuBLAS
    def __getattr__(self, name):
        if not name.startswith("cublas"):
            raise AttributeError(name)

        def call(*arguments):
            types = cublas._CALL[name]
            assert len(arguments) == len(types), name
            for a, t in zip(arguments, types):
                t.from_param(a)  # as ctypes will
            self.calls.append((name, arguments))
            if name not in self.fails:
                getattr(self, f"do_{name}", lambda *a: None)(*arguments)
            return self.fails.get(name, 0)

        return call

    def do_cublasGemmEx_64(
        self,
        handle,
        op_a,
        op_b,
        m,
        n,
        k,
        alpha,
        A,
        type_a,
        lda,
        B,
        type_b,
        ldb,
        beta,
        C,
        type_c,
        ldc,
        compute,
        algorithm,
    ):
        self.do_cublasGemmStridedBatchedEx_64(
            handle,
            op_a,
            op_b,
            m,
            n,
            k,
            alpha,
            A,
            type_a,
            lda,
            0,
            B,
            type_b,
            ldb,
            0,
            beta,
            C,
            type_c,
            ldc,
            0,
            1,
            compute,
            algorithm,
        )

    def do_cublasGemmStridedBatchedEx_64(
        self,
        handle,
        op_a,
        op_b,
        m,
        n,
        k,
        alpha,
        A,
        type_a,
        lda,
        step_a,
        B,
        type_b,
        ldb,
        step_b,
        beta,
        C,
        type_c,
        ldc,
        step_c,
        count,
        compute,
        algorithm,
    ):
        number = ctypes.c_double if compute == 70 else ctypes.c_float
        assert type(alpha._obj) is type(beta._obj) is number and algorithm == -1
        assert lda >= max(1, k if op_a else m) and ldb >= max(1, n if op_b else k)  # its rules
        assert ldc >= max(1, m) and count >= 1 and min(m, n, k) >= 1
        for i in range(count):
            a = by_columns(A, type_a, i * step_a, (k, m) if op_a else (m, k), lda)
            b = by_columns(B, type_b, i * step_b, (n, k) if op_b else (k, n), ldb)
            c = by_columns(C, type_c, i * step_c, (m, n), ldc)
            c[...] = np.nan  # an operand that lies in the same memory is lost
            a, b = (a.T if op_a else a), (b.T if op_b else b)
            wide = np.float64 if compute == 70 else np.float32
            assert beta._obj.value == 0.0
            c[...] = alpha._obj.value * (a.astype(wide) @ b.astype(wide))


def by_columns(address, type, offset, shape, ld):
    """The matrix that cuBLAS sees: element (i, j) at i + j ld."""
    dtype = DTYPES[type]
    size = (shape[1] - 1) * ld + shape[0]
    memory = (ctypes.c_char * (size * dtype.itemsize)).from_address(
        address + offset * dtype.itemsize
    )
    flat = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, (dtype.itemsize, ld * dtype.itemsize))


class Namespace:
    """numpy, but for arrays that are Devices."""

    __name__ = "cupy"

    def __getattr__(self, name):
        f = getattr(np, name)
        if not callable(f) or name == "result_type":
            return f
        return lambda *a, **o: f(*a, **o).view(Device)


@pytest.fixture
def fake(monkeypatch):
    fake = Fake()
    install(monkeypatch, fake)
    return fake


def install(monkeypatch, fake):
    handle = cublas.Handle(fake, fake, 0)
    monkeypatch.setattr(cublas, "_handle", lambda: handle)
    monkeypatch.setattr(cublas, "array_namespace", lambda *arrays: Namespace())
    return handle


def device(x):
    return np.array(x).view(Device)


def gemms(fake):
    return [name for name, _ in fake.calls if "Gemm" in name]


# ---- arrays that lie in memory in all manners


@st.composite
def matrices(draw, shape):
    """An array of a shape, cut out of a larger one: transposed, with gaps, reversed."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    order = draw(st.permutations(range(len(shape))))
    if draw(st.booleans()):  # most often the matrices stay last
        order = [*range(len(shape) - 2), *draw(st.permutations([len(shape) - 2, len(shape) - 1]))]
    gaps = [draw(st.sampled_from([0, 0, 0, 1, 3])) for _ in shape]
    steps = [draw(st.sampled_from([1, 1, 1, 1, 2, -1])) for _ in shape]
    room = rng.standard_normal([shape[i] * abs(steps[i]) + gaps[i] for i in order])
    x = room.view(Device).transpose(np.argsort(order))
    return x[
        tuple(
            slice(g // 2, g // 2 + n * s, s)
            if s > 0
            else slice(n - 1, None, -1)
            if n
            else slice(0, 0)
            for n, s, g in zip(shape, steps, gaps)
        )
    ]


side = st.integers(0, 5)


@st.composite
def products(draw):
    """a, b, and a place for a @ b, or None."""
    M, K, N = draw(side), draw(side), draw(side)
    batch = draw(st.lists(st.integers(1, 3), max_size=3))
    kept = [[1 if draw(st.integers(0, 3)) == 0 else n for n in batch] for _ in range(2)]
    cut = [k[draw(st.sampled_from([0, 0, len(k)])) :] for k in kept]
    a, b = draw(matrices((*cut[0], M, K))), draw(matrices((*cut[1], K, N)))
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = draw(matrices((*shape, M, N))) if draw(st.booleans()) else None
    return a, b, out


@given(product=products())
def test_asks_for_the_product(product):
    a, b, out = product
    with pytest.MonkeyPatch.context() as patch:
        fake = Fake()
        install(patch, fake)
        right = np.array(a) @ np.array(b)
        y = cublas.matmul(a, b, out)
        assert y is out or out is None
        assert y.shape == right.shape and y.dtype == right.dtype
        np.testing.assert_allclose(y, right, rtol=0, atol=1e-12)
        assert len(gemms(fake)) == (1 if right.size and a.shape[-1] else 0)


def by_rows(*shape):
    return device(np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize(
    "a, b, out",
    [
        (by_rows(4, 3), by_rows(3, 5), None),
        (by_rows(3, 4).T, by_rows(3, 5), None),
        (by_rows(4, 3), by_rows(5, 3).T, None),  # a linear layer
        (by_rows(4, 3), by_rows(5, 3).T, by_rows(4, 9)[:, 2:7]),
        (by_rows(4, 3), by_rows(3, 5), by_rows(5, 4).T),  # a place by columns
        (by_rows(4, 9)[:, 3:6], by_rows(3, 5), None),  # a slice of features
        (by_rows(2, 6, 4, 3), by_rows(2, 6, 3, 5), None),  # two batch axes that are one
        (by_rows(2, 6, 4, 3), by_rows(2, 6, 5, 3).swapaxes(-1, -2), None),
        (by_rows(6, 4, 3), by_rows(3, 5), None),  # one matrix for a batch
        (by_rows(3, 4, 2), by_rows(3, 2, 5), by_rows(3, 5, 4).swapaxes(1, 2)),
        (by_rows(3, 4, 2), by_rows(2, 5), by_rows(3, 5, 4).swapaxes(1, 2)),
        (by_rows(4, 7, 3)[:, 2], by_rows(3, 1), None),
        (by_rows(1, 8)[:, :3], by_rows(3, 1), None),
    ],
    ids=lambda x: "none" if x is None else "x".join(map(str, x.shape)),
)
def test_what_a_call_describes_is_not_copied(fake, a, b, out, monkeypatch):
    monkeypatch.setattr(Namespace, "ascontiguousarray", None, raising=False)
    np.testing.assert_allclose(cublas.matmul(a, b, out), np.array(a) @ np.array(b), atol=1e-12)
    assert len(gemms(fake)) == 1


@pytest.mark.parametrize(
    "a, b, out",
    [
        (by_rows(2, 3, 4, 6), by_rows(2, 3, 6, 5), by_rows(3, 2, 4, 5).swapaxes(0, 1)),
        (by_rows(3, 2, 4, 6).swapaxes(0, 1), by_rows(2, 3, 6, 5), None),  # as heads of attention
        (by_rows(2, 3, 4, 6), by_rows(2, 1, 6, 5), None),
        (by_rows(2, 3, 4, 6)[..., ::2], by_rows(3, 1), by_rows(2, 3, 4, 2)[..., ::2]),
    ],
)
def test_what_no_call_describes_is_copied(fake, a, b, out):
    np.testing.assert_allclose(cublas.matmul(a, b, out), np.array(a) @ np.array(b), atol=1e-12)
    assert len(gemms(fake)) == 1


def test_the_call_of_a_linear_layer(fake):
    """By hand: y (4, 5) = x (4, 3) Wᵀ, W (5, 3). For cuBLAS the memory of W is Wᵀ (3, 5) by
    columns and is transposed, that of x is xᵀ (3, 4), and the result yᵀ (5, 4)."""
    x, W, y = by_rows(4, 3), by_rows(5, 3), by_rows(4, 5)
    cublas.matmul(x, W.T, y)
    name, (_, *call) = fake.calls[-1]
    assert name == "cublasGemmEx_64"
    op_a, op_b, m, n, k, _, A, _, lda, B, _, ldb, _, C, _, ldc, compute, _ = call
    assert (op_a, op_b, m, n, k) == (1, 0, 5, 4, 3)
    assert (A, lda, B, ldb, C, ldc) == (W.data.ptr, 3, x.data.ptr, 3, y.data.ptr, 5)
    assert compute == 70


def test_an_operand_is_not_written_to_on_the_way(fake):
    x = by_rows(3, 3)
    right = np.array(x) @ np.array(x)
    assert cublas.matmul(x, x, x) is x
    np.testing.assert_allclose(x, right, atol=1e-12)


# ---- precision


@pytest.mark.parametrize(
    "dtype, asked, types, compute",
    [
        ("float64", "bfloat16", (1, 1, 1), 70),
        ("float32", "float32", (0, 0, 0), 68),
        ("float32", "tf32", (0, 0, 0), 77),
        ("float32", "bfloat16", (14, 14, 0), 68),
        ("float16", "tf32", (2, 2, 2), 68),
        (ml_dtypes.bfloat16, "tf32", (14, 14, 14), 68),
    ],
)
def test_a_product_is_computed_in_the_precision_asked_for(fake, dtype, asked, types, compute):
    a, b = by_rows(7, 9).astype(dtype), by_rows(9, 8).astype(dtype)
    with matmul_precision(asked):
        y = cublas.matmul(a, b)
    call = fake.calls[-1][1]
    assert (call[8], call[11], call[15]) == types and call[17] == compute
    assert y.dtype == a.dtype
    if asked == "bfloat16" and dtype == "float32":
        a, b = (x.astype(ml_dtypes.bfloat16).astype(dtype) for x in (a, b))
    np.testing.assert_allclose(
        y.astype("f8"),
        (a.astype("f8") @ b.astype("f8")),
        rtol=0,
        atol={"float64": 1e-12, "float32": 1e-5}.get(dtype, 0.05),
    )


def test_bfloat16_rounds_operands_alone():
    """Sums and results have 24 bits: 1 + 2⁻¹² is not 1."""
    with pytest.MonkeyPatch.context() as patch, matmul_precision("bfloat16"):
        install(patch, Fake())
        a, b = device(np.float32([[1.0, 2.0**-12]])), device(np.float32([[1.0], [1.0]]))
        assert cublas.matmul(a, b) == np.float32(1.0 + 2.0**-12)
        a = device(np.float32([[1.0 + 2.0**-12]]))
        assert cublas.matmul(a, a) == 1.0


@pytest.mark.parametrize("asked, type", [("bfloat16", 14), ("tf32", 0)])
def test_a_linear_layer_rounds_each_operand_once(fake, asked, type, monkeypatch):
    """x and W on the way there, for the way back too, where dy is; in three products whose results
    are float32."""
    monkeypatch.setitem(backends._OWNERS, Device, Namespace())
    rounded, operands = [], cublas.operands

    def counted(*arrays):
        results = operands(*arrays)
        rounded.extend(a.shape for a, b in zip(arrays, results) if a is not b)
        return results

    monkeypatch.setattr(cublas, "operands", counted)
    rng = np.random.default_rng(0)
    x, W, b, dy = (rng.standard_normal(s).astype("f4") for s in ((7, 5), (4, 5), 4, (7, 4)))
    with matmul_precision(asked):
        y, cache = linear.cuda.forward(*map(device, (x, W, b)))
        found = y, *linear.cuda.backward(device(dy), cache)
    assert rounded == ([x.shape, W.shape] if asked == "bfloat16" else [])
    calls = [call for name, call in fake.calls if "Gemm" in name]
    assert [(call[8], call[11], call[15]) for call in calls] == [(type, type, 0)] * 3
    right_db = dy.sum(axis=0)
    if asked == "bfloat16":
        x, W, dy = (a.astype(ml_dtypes.bfloat16).astype("f4") for a in (x, W, dy))
    for a, right in zip(found, (x @ W.T + b, dy @ W, dy.T @ x, right_db), strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a, right, rtol=1e-5, atol=1e-5)


def test_the_precision_nests_and_comes_back():
    assert precision() == "float32"
    with matmul_precision("tf32"):
        with matmul_precision("bfloat16"):
            assert precision() == "bfloat16"
        assert precision() == "tf32"
    setting = matmul_precision("tf32")  # from here on
    assert precision() == "tf32"
    with setting:
        pass
    assert precision() == "float32"
    with pytest.raises(ValueError, match="one of float32, tf32, bfloat16; got 'fp8'"):
        matmul_precision("fp8")
    assert precision() == "float32"


@pytest.mark.parametrize("asked", ["tf32", "bfloat16"])
def test_an_old_gpu_says_so(monkeypatch, asked):
    install(monkeypatch, Fake(capability="75"))
    a = by_rows(2, 2).astype("float32")
    with matmul_precision(asked), pytest.raises(RuntimeError, match=f"{asked} need.* has 7.5"):
        cublas.matmul(a, a)
    cublas.matmul(a, a)


# ---- what is not cuBLAS's


@pytest.mark.parametrize(
    "a, b",
    [
        (np.ones((2, 3), int), np.ones((3, 2), int)),
        (np.ones((2, 3), "f4"), np.ones((3, 2))),
        (np.ones((2, 3), bool), np.ones((3, 2), bool)),
    ],
)
def test_other_dtypes_are_left_to_cupy(fake, a, b):
    np.testing.assert_array_equal(cublas.matmul(device(a), device(b)), a @ b)
    out = device(np.empty((2, 2), (a @ b).dtype))
    assert cublas.matmul(device(a), device(b), out) is not None
    assert not gemms(fake)


def test_arrays_of_another_device_are_refused(fake, monkeypatch):
    a, there = device(np.ones((2, 2), "f4")), device(np.ones((2, 2), "f4"))
    there.device = SimpleNamespace(id=1)
    monkeypatch.setattr(backends, "device_of", lambda x: f"cuda:{x.device.id}")
    with pytest.raises(backends.DeviceError, match="on cuda:1, and the current device is cuda:0"):
        cublas.matmul(a, there)
    assert not gemms(fake)


def test_shapes_that_do_not_fit_are_its_error(fake):
    with pytest.raises(ValueError):
        cublas.matmul(by_rows(2, 3), by_rows(2, 3))
    with pytest.raises(ValueError):
        cublas.matmul(by_rows(2, 1, 3), by_rows(3, 3, 2))
    with pytest.raises(ValueError):
        cublas.matmul(by_rows(2, 3), by_rows(3, 2), by_rows(2, 3))
    assert not gemms(fake)


# ---- streams, memory, errors


def test_each_stream_has_its_own_memory(fake):
    a = by_rows(2, 2)
    cublas.matmul(a, a)
    cublas.matmul(a, a)
    fake.ptr = 8
    cublas.matmul(a, a)
    fake.ptr = 7
    cublas.matmul(a, a)
    asked = [(name, arguments[1]) for name, arguments in fake.calls if "Set" in name]
    one, two = [memory.ptr for memory in fake.allocated]
    assert asked == [
        ("cublasSetStream_v2", 7),
        ("cublasSetWorkspace_v2", one),
        ("cublasSetStream_v2", 8),
        ("cublasSetWorkspace_v2", two),
        ("cublasSetStream_v2", 7),
        ("cublasSetWorkspace_v2", one),
    ]
    assert [a[2] for name, a in fake.calls if "Workspace" in name] == [32 << 20] * 3


@pytest.mark.parametrize(
    "status, message",
    [
        (1, "could not be initialised: is there a GPU"),
        (13, "a kernel failed"),
        (99, "99"),
        (
            3,
            "memory of the GPU is full .*about 33,554,432 bytes; 1,000 of 80,000 are free.*smaller",
        ),
    ],
)
def test_an_error_names_the_call_and_the_device(fake, status, message):
    fake.fails["cublasGemmEx_64"] = status
    a = by_rows(2, 2)
    with pytest.raises(cublas.CublasError, match=f"cublasGemmEx_64 on cuda:0 failed.*{message}"):
        cublas.matmul(a, a)
    fake.fails.clear()
    np.testing.assert_allclose(cublas.matmul(a, a), np.array(a) @ np.array(a))  # goes on


def test_after_a_stream_could_not_be_set_it_is_set_again(fake):
    a = by_rows(2, 2)
    cublas.matmul(a, a)
    fake.ptr, fake.fails["cublasSetWorkspace_v2"] = 8, 14
    with pytest.raises(cublas.CublasError):
        cublas.matmul(a, a)
    fake.fails.clear()
    fake.ptr = 7
    cublas.matmul(a, a)
    assert [name for name, _ in fake.calls][-3:] == [
        "cublasSetStream_v2",
        "cublasSetWorkspace_v2",
        "cublasGemmEx_64",
    ]
    assert fake.calls[-3][1][1] == 7


def test_the_library_has_what_is_called():
    """Where one is installed; without a GPU, too."""
    if cublas._path() is None:
        with pytest.raises(cublas.CublasError, match="pip install"):
            cublas.library.__wrapped__()
        return
    library = cublas.library.__wrapped__()
    assert all(getattr(library, name) for name in cublas._CALL)
    if not available()["cupy"].usable:
        assert library.cublasCreate_v2(ctypes.byref(ctypes.c_void_p())) == 1


# ---- for real


@pytest.mark.gpu
@pytest.mark.skipif(not available()["cupy"].usable, reason="needs a GPU")
class TestOnGPU:
    @given(product=products())
    def test_it_is_the_product(self, product):
        a, b, _ = product
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-4)):
            x, y = (to_device(np.array(p, dtype, order="K"), "cuda") for p in (a, b))
            np.testing.assert_allclose(cublas.matmul(x, y).get(), x.get() @ y.get(), atol=tolerance)

    @pytest.mark.parametrize(
        "asked, low, high", [("float32", 0, 1e-6), ("tf32", 1e-6, 1e-3), ("bfloat16", 1e-4, 1e-2)]
    )
    @pytest.mark.parametrize("shape", [(512, 384, 1536), (6, 64, 64, 64)])
    def test_it_rounds_as_the_precision_says(self, asked, low, high, shape):
        import cupy

        *batch, M, K, N = shape
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((*batch, M, K)), rng.standard_normal((*batch, K, N))
        with matmul_precision(asked):
            y = cublas.matmul(cupy.asarray(a, "float32"), cupy.asarray(b, "float32"))
        error = np.abs(y.get() - a @ b).max() / np.sqrt(K)
        assert y.dtype == np.float32 and low < error < 10 * high

    def test_out_on_another_stream(self):
        import cupy

        a = cupy.ones((64, 64), dtype="float32")
        out = cupy.zeros((64, 128), dtype="float32")
        with cupy.cuda.Stream(non_blocking=True) as stream:
            cublas.matmul(a, a.T, out[:, 32:96])
            stream.synchronize()
        assert float(out.sum()) == 64.0**3 and not out[:, :32].any()

    def test_is_part_of_tensors(self):
        a = nag.Tensor(np.ones((3, 4), "float32"), requires_grad=True, device="cuda")
        (a @ a.T).sum().backward()
        assert a.grad.numpy().tolist() == [[6.0] * 4] * 3
