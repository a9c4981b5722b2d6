"""Sessions: the policy that onnxruntime is given, prepared forms, errors, threads."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmr_runtime import sessions
from mmr_runtime.errors import BundleError, CancelledError, DeviceError
from mmr_runtime.prepared import GRAPH, cache_folder
from mmr_runtime.sessions import Session, Stop, allowed_cores, default_threads, load_onnxruntime, resolve_device

ROOT = Path(__file__).resolve().parents[2]
SIZE = 6  # of the embedding


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, a ReLU, a mean and a product, with weights large enough to be kept outside a prepared graph."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.standard_normal((128, 16, 3, 3)).astype(np.float32),
        "matrix": rng.standard_normal((128, SIZE)).astype(np.float32),
        "wide": rng.standard_normal((SIZE, 2048)).astype(np.float32),
        "narrow": rng.standard_normal((2048, SIZE)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["c"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["c", "matrix"], ["d"]),
        helper.make_node("MatMul", ["d", "wide"], ["e"]),
        helper.make_node("MatMul", ["e", "narrow"], ["vector"]),
    ]
    content = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 16, 8, 8])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", SIZE])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = tmp_path_factory.mktemp("graph") / "image.fp32.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def sha256(graph: Path) -> str:
    return hashlib.sha256(graph.read_bytes()).hexdigest()


@pytest.fixture
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((5, 16, 8, 8)).astype(np.float32)


# -- running ----------------------------------------------------------------------------------------------------------


def test_rows_together_are_the_rows_alone(graph: Path, rows: NDArray[np.float32]) -> None:
    session = Session(graph)
    together = session.run(rows)
    assert together.shape == (5, SIZE)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([session.run(row[None]) for row in rows]))


def test_eight_threads_agree_with_one(graph: Path, sha256: str, rows: NDArray[np.float32]) -> None:
    session = Session(graph, sha256=sha256)
    expected, got = session.run(rows), []
    workers = [threading.Thread(target=lambda: got.extend(session.run(rows) for _ in range(20))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(got) == 160
    assert all(np.array_equal(result, expected) for result in got)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of a thousand products, which takes seconds."""
    size, count = 700, 1000
    weight = numpy_helper.from_array(np.eye(size, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", [f"v{i}", "w"], [f"v{i + 1}"]) for i in range(count)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size, size)) for name in ("v0", f"v{count}")]
    made = helper.make_model(
        helper.make_graph(nodes, "slow", ends[:1], ends[1:], [weight]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    path = tmp_path_factory.mktemp("slow") / "slow.onnx"
    onnx.save(made, path)
    return path


def test_a_run_can_be_ended_from_another_thread_and_the_session_goes_on(slow: Path) -> None:
    session, stop = Session(slow), Stop()
    ones = np.ones((1, 700, 700), np.float32)
    timer = threading.Timer(0.1, stop.ask)
    started = time.perf_counter()
    timer.start()
    with stop.governing(), pytest.raises(CancelledError):
        session.run(ones)
    ended = time.perf_counter() - started
    timer.join()
    with stop.governing(), pytest.raises(CancelledError):  # for good
        session.run(ones)
    started = time.perf_counter()
    with Stop().governing():
        np.testing.assert_allclose(session.run(ones), ones)
    assert ended < (time.perf_counter() - started) / 2


def test_sessions_may_be_made_by_many_threads(graph: Path, sha256: str, rows: NDArray[np.float32]) -> None:
    expected, got = Session(graph).run(rows), []
    workers = [threading.Thread(target=lambda: got.append(Session(graph, sha256=sha256).run(rows))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(got) == 8
    assert all(np.array_equal(result, expected) for result in got)


@pytest.mark.parametrize("content", [b"", b"no graph", None], ids=["empty", "text", "truncated"])
@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_graph_is_named(graph: Path, tmp_path: Path, content: bytes | None, known: bool) -> None:
    bad = tmp_path / "image.int8.onnx"
    bad.write_bytes(graph.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(BundleError, match=r"image\.int8\.onnx cannot be loaded by onnxruntime"):
        Session(bad, sha256="0" * 64 if known else None)


# -- prepared forms ---------------------------------------------------------------------------------------------------


def test_a_prepared_graph_changes_no_bit(graph: Path, sha256: str, rows: NDArray[np.float32]) -> None:
    expected = Session(graph).run(rows)
    for _ in ("made", "found"):
        np.testing.assert_array_equal(Session(graph, sha256=sha256).run(rows), expected)


def test_the_threads_of_a_session_do_not_matter_to_its_prepared_form(cache: Path, graph: Path, sha256: str) -> None:
    forms = []
    for threads in (1, 3):
        Session(graph, sha256=sha256, threads=threads)
        (form,) = (path.parent for path in cache.rglob(GRAPH))
        forms.append({path.name: path.read_bytes() for path in form.iterdir() if path.suffix != ".json"})
        shutil.rmtree(form)
    assert forms[0] == forms[1]


def test_weights_lie_beside_the_prepared_graph(cache: Path, graph: Path, sha256: str) -> None:
    Session(graph, sha256=sha256)
    (weights,) = cache.rglob("weights.bin")
    assert weights.stat().st_size > 128 * 16 * 9 * 4


def test_without_a_known_hash_nothing_is_kept(cache: Path, graph: Path) -> None:
    Session(graph)
    assert not cache.exists()


def test_the_second_session_does_not_read_the_graph(
    graph: Path, sha256: str, tmp_path: Path, rows: NDArray[np.float32]
) -> None:
    expected = Session(graph, sha256=sha256).run(rows)
    np.testing.assert_array_equal(Session(tmp_path / "gone.onnx", sha256=sha256).run(rows), expected)


def damage_nothing(form: Path) -> None:
    """Leave it as it is: the case without which the others would say nothing."""


def truncate_weights(form: Path) -> None:
    os.truncate(form / "weights.bin", 5000)


def swap_graph(form: Path) -> None:
    """What facts cannot tell: another content of the same size and age."""
    path = form / GRAPH
    facts = path.stat()
    path.write_bytes(b"\xff" * facts.st_size)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "is_made_again"), [(damage_nothing, False), (truncate_weights, True), (swap_graph, True)]
)
def test_a_damaged_form_is_made_again(
    cache: Path,
    graph: Path,
    sha256: str,
    rows: NDArray[np.float32],
    damage: Callable[[Path], None],
    is_made_again: bool,
) -> None:
    expected = Session(graph, sha256=sha256).run(rows)
    (form,) = (path.parent for path in cache.rglob(GRAPH))
    before = (form / GRAPH).stat().st_ino, (form / GRAPH).stat().st_mtime_ns
    damage(form)
    np.testing.assert_array_equal(Session(graph, sha256=sha256).run(rows), expected)
    after = (form / GRAPH).stat().st_ino, (form / GRAPH).stat().st_mtime_ns
    assert (before != after) == is_made_again
    assert b"\xff" * 100 not in (form / GRAPH).read_bytes()


def test_another_version_of_onnxruntime_makes_its_own(
    cache: Path, graph: Path, sha256: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Session(graph, sha256=sha256)
    (old,) = cache.rglob(GRAPH)
    monkeypatch.setattr(load_onnxruntime(), "__version__", "99.0")
    Session(graph, sha256=sha256)
    (new,) = cache.rglob(GRAPH)
    assert new != old


def test_without_a_writable_cache_the_graph_itself_is_opened(
    cache: Path, graph: Path, sha256: str, rows: NDArray[np.float32], capfd: pytest.CaptureFixture[str]
) -> None:
    cache.parent.write_text("a file where the folder should be")
    np.testing.assert_array_equal(Session(graph, sha256=sha256).run(rows), Session(graph).run(rows))
    assert capfd.readouterr() == ("", "")


def test_two_processes_at_once_agree(tmp_path: Path, graph: Path, sha256: str, rows: NDArray[np.float32]) -> None:
    np.save(tmp_path / "rows.npy", rows)
    code = (
        "import sys, numpy, platformdirs, pathlib\n"
        "folder, graph, sha256 = sys.argv[1:]\n"
        "platformdirs.user_cache_dir = lambda *_, **__: folder + '/shared'\n"
        "from mmr_runtime.sessions import Session\n"
        "result = Session(pathlib.Path(graph), sha256=sha256).run(numpy.load(folder + '/rows.npy'))\n"
        "print(result.tobytes().hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(graph), sha256]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    expected = Session(graph).run(rows).tobytes().hex()
    assert [process.communicate()[0].strip() for process in running] == [expected] * 2
    forms = [path for path in (tmp_path / "shared").rglob("*") if path.is_dir() and (path / GRAPH).exists()]
    assert len(forms) == 1


# -- policy, seen by an onnxruntime that only listens -----------------------------------------------------------------


class FakeOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.pinned: dict[str, int] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        self.pinned[name] = size


class FakeRuntime(types.ModuleType):
    """As much of onnxruntime as sessions.py asks for.

    Args:
        available: providers that it was built with.
        given: providers that its sessions get.
        on_cpu: operators that it leaves on the CPU.
        tells: whether it can tell where nodes went.
        fails: what it says when it cannot open a graph, or run it (`run: ` before it).
    """

    def __init__(
        self,
        available: list[str],
        *,
        given: list[str] | None = None,
        on_cpu: tuple[str, ...] = (),
        tells: bool = True,
        fails: str = "",
    ) -> None:
        super().__init__("onnxruntime")
        self.__version__ = "9.9.9"
        self.SessionOptions = FakeOptions
        self.ExecutionMode = types.SimpleNamespace(ORT_SEQUENTIAL="sequential")
        self.made: list[Any] = []
        self.severities: list[int] = []
        self.set_default_logger_severity = self.severities.append
        self.get_available_providers = lambda: available
        given, made = available if given is None else given, self.made

        class Binding:
            def bind_cpu_input(self, name: str, value: NDArray[Any]) -> None:
                assert value.flags.c_contiguous
                self.name, self.value = name, value

            def bind_output(self, name: str, device: str) -> None:
                self.output = (name, device)

            def copy_outputs_to_cpu(self) -> list[NDArray[np.float32]]:
                return self.results

        class InferenceSession:
            def __init__(self, path: str, options: FakeOptions, providers: list[Any], enable_fallback: int) -> None:
                self.path, self.options, self.providers = path, options, providers
                self.enable_fallback, self.runs = enable_fallback, list[Any]()
                made.append(self)
                if on_cpu and options.entries.get("session.disable_cpu_ep_fallback") == "1":
                    raise RuntimeError("This session contains graph nodes that are assigned to the default CPU EP, but")
                if fails and not fails.startswith("run: "):
                    raise RuntimeError(fails)

            def get_providers(self) -> list[str]:
                return given

            def get_inputs(self) -> list[Any]:
                batch = self.options.pinned["batch"]
                return [types.SimpleNamespace(name="pixels", shape=[batch, 3], type="tensor(float)")]

            def get_outputs(self) -> list[Any]:
                return [types.SimpleNamespace(name="vector")]

            def io_binding(self) -> Binding:
                return Binding()

            def run_with_iobinding(self, binding: Binding) -> None:
                if fails.startswith("run: "):
                    raise RuntimeError(fails.removeprefix("run: "))
                self.runs.append((binding.name, binding.value, binding.output))
                binding.results = [2 * binding.value]

        def assignment(_: object) -> list[Any]:
            node = types.SimpleNamespace
            parts = {"CUDAExecutionProvider": ("Conv", "Gemm"), "CPUExecutionProvider": on_cpu}
            return [
                node(ep_name=name, get_nodes=lambda ops=ops: [node(op_type=op) for op in ops])
                for name, ops in parts.items()
            ]

        if tells:
            InferenceSession.get_provider_graph_assignment_info = assignment  # type: ignore[attr-defined]
        self.InferenceSession = InferenceSession


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRuntime]:
    def put(*available: str, **facts: Any) -> FakeRuntime:
        fake = FakeRuntime(list(available), **facts)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)
        return fake

    return put


def test_policy_on_the_cpu(install: Callable[..., FakeRuntime]) -> None:
    fake = install("AzureExecutionProvider", CPU)
    Session(Path("image.onnx"), threads=3)
    (session,) = fake.made
    options = session.options
    assert session.path == "image.onnx"
    assert session.providers == [CPU]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.execution_mode == "sequential"
    assert options.log_severity_level == 3
    assert options.entries == {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}
    assert options.pinned == {"batch": 1}
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (True, False)


def test_policy_on_cuda(install: Callable[..., FakeRuntime], cache: Path) -> None:
    fake = install(CUDA, CPU)
    Session(Path("image.onnx"), device="cuda", sha256="a" * 64)
    (made,) = fake.made
    assert made.providers == [(CUDA, sessions.CUDA_OPTIONS), CPU]
    assert sessions.CUDA_OPTIONS["cudnn_conv_algo_search"] == "HEURISTIC"
    assert made.enable_fallback == 0
    assert made.options.pinned == {"batch": 1}
    assert not cache.exists()


def test_a_cuda_session_has_run_once_before_the_first_page(install: Callable[..., FakeRuntime]) -> None:
    fake = install(CUDA, CPU)
    Session(Path("image.onnx"), device="cuda")
    ((name, value, output),) = fake.made[0].runs
    assert (name, value.shape, value.dtype, output) == ("pixels", (1, 3), np.float32, ("vector", "cuda"))


@pytest.mark.parametrize(
    ("count", "singles", "batches"), [(1, 1, 0), (4, 4, 0), (5, 0, 1), (16, 0, 1), (18, 2, 1), (21, 0, 2), (32, 0, 2)]
)
def test_rows_on_cuda_run_in_two_shapes_only(
    install: Callable[..., FakeRuntime], count: int, singles: int, batches: int
) -> None:
    """A further shape would have cuDNN choose its kernels anew."""
    fake = install(CUDA, CPU)
    session = Session(Path("image.onnx"), device="cuda")
    rows = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    np.testing.assert_array_equal(session.run(rows), 2 * rows)
    one, *twins = fake.made
    assert [len(value) for _, value, _ in one.runs[1:]] == [1] * singles
    assert [[len(value) for _, value, _ in twin.runs] for twin in twins] == [[16] * batches] * bool(batches)
    assert all(twin.options.pinned == {"batch": 16} for twin in twins)


def test_rows_on_cuda_may_be_a_view(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU)
    rows = np.arange(60, dtype=np.float32).reshape(3, 20).T
    np.testing.assert_array_equal(Session(Path("image.onnx"), device="cuda").run(rows), 2 * rows)


def test_threads_share_one_twin(install: Callable[..., FakeRuntime]) -> None:
    fake = install(CUDA, CPU)
    session = Session(Path("image.onnx"), device="cuda")
    workers = [threading.Thread(target=session.run, args=(np.zeros((16, 3), np.float32),)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [len(made.runs) for made in fake.made] == [1, 8]


def test_binding_gives_what_running_gives(graph: Path, rows: NDArray[np.float32]) -> None:
    """The calls that the fake imitates, by the real onnxruntime, on the CPU."""
    session = load_onnxruntime().InferenceSession(str(graph), providers=[CPU], enable_fallback=0)
    expected = session.run(["vector"], {"pixels": rows})[0]
    binding = session.io_binding()
    binding.bind_cpu_input("pixels", rows)
    binding.bind_output("vector", "cpu")
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], expected)


def test_a_gpu_that_fails_is_an_error_with_its_words(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU, fails="run: CUDA failure 2: out of memory\nand more")
    with pytest.raises(DeviceError, match=r"the GPU failed on image\.onnx: CUDA failure 2: out of memory") as caught:
        Session(Path("image.onnx"), device="cuda")
    assert "--device cpu" in caught.value.hint
    assert "and more" not in str(caught.value)


def test_cuda_that_cannot_open_a_graph_is_a_matter_of_the_device(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU, fails="CUDA failure 100: no CUDA-capable device is detected")
    with pytest.raises(DeviceError, match="no CUDA-capable device"):
        Session(Path("image.onnx"), device="cuda")


def test_a_graph_that_nothing_can_open_is_a_matter_of_the_bundle(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU, fails="Load model from cuda/image.onnx failed: Protobuf parsing failed")
    with pytest.raises(BundleError, match="Protobuf parsing failed"):
        Session(Path("cuda/image.onnx"), device="cuda")


def test_cuda_libraries_are_loaded_first_and_quietly(
    install: Callable[..., FakeRuntime], capsys: pytest.CaptureFixture[str]
) -> None:
    fake = install(CUDA, CPU)

    def preload() -> None:
        fake.made.append("loaded")
        sys.stdout.write("Failed to load something that nobody needs")

    fake.preload_dlls = preload  # type: ignore[attr-defined]
    Session(Path("image.onnx"), device="cuda")
    assert fake.made[0] == "loaded"
    assert capsys.readouterr().out == ""


def test_onnxruntimes_own_log_is_silent_once_cuda_was_asked_for(install: Callable[..., FakeRuntime]) -> None:
    fake = install(CUDA, CPU)
    Session(Path("image.onnx"), device="cuda")
    assert fake.severities == [4]


@pytest.mark.parametrize("tells", [True, False])
def test_a_session_that_silently_lost_cuda_is_an_error(
    install: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    fake = install(CUDA, CPU, given=[CPU], tells=tells)
    words = "Failed to load libcublas.so.13: no such file\nand more\n"
    fake.preload_dlls = lambda: sys.stdout.write(words)  # type: ignore[attr-defined]
    monkeypatch.setattr("ctypes.CDLL", lambda _: None)  # there is a driver
    with pytest.raises(DeviceError, match="cannot be had: Failed to load libcublas") as caught:
        Session(Path("image.onnx"), device="cuda")
    assert "mmr-runtime[gpu]" in caught.value.hint


def test_a_missing_driver_is_named(install: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OSError

    install(CUDA, CPU, given=[CPU])
    monkeypatch.setattr("ctypes.CDLL", fail)
    with pytest.raises(DeviceError, match="there is no NVIDIA driver"):
        Session(Path("image.onnx"), device="cuda")


def test_a_node_that_fell_back_is_an_error_that_names_it(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU, on_cpu=("Shape", "QLinearConv"))
    with pytest.raises(DeviceError, match=r"image\.onnx this would run on the CPU: QLinearConv"):
        Session(Path("image.onnx"), device="cuda")


def test_arithmetic_on_shapes_may_stay_on_the_cpu(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU, on_cpu=("Shape", "Gather", "Range", "Shape"))
    assert Session(Path("text.onnx"), device="cuda").on_cpu == {"Shape": 2, "Gather": 1, "Range": 1}


def test_an_older_onnxruntime_is_forbidden_to_use_the_cpu(install: Callable[..., FakeRuntime]) -> None:
    fake = install(CUDA, CPU, tells=False)
    Session(Path("image.onnx"), device="cuda")
    (made,) = fake.made
    assert made.options.entries["session.disable_cpu_ep_fallback"] == "1"
    assert [name for name, _ in made.providers] == [CUDA]
    install(CUDA, CPU, tells=False, on_cpu=("QLinearConv",))
    with pytest.raises(DeviceError, match="some of its nodes"):
        Session(Path("image.onnx"), device="cuda")


def test_the_words_of_onnxruntime_are_still_those(graph: Path) -> None:
    """The two replies that the fake imitates, from the real one."""
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with pytest.raises(Exception, match="assigned to the default CPU EP"):
        ort.InferenceSession(str(graph), options, providers=[])
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("this onnxruntime does not tell where nodes went")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(str(graph), options, providers=[CPU])
    parts = session.get_provider_graph_assignment_info()
    assert {part.ep_name for part in parts} == {CPU}
    assert "Conv" in {node.op_type for part in parts for node in part.get_nodes()}


def test_memory_that_creation_freed_is_given_back(
    install: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, calls = install(CPU), []

    def trim(pad: int) -> None:
        calls.append((pad, len(fake.made)))

    monkeypatch.setattr("ctypes.CDLL", lambda _: types.SimpleNamespace(malloc_trim=trim))
    Session(Path("image.onnx"))
    assert calls == [(0, 1)]


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_a_c_library_that_cannot_give_memory_back_is_no_error(
    install: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: None) -> None:
        raise error

    install(CPU)
    monkeypatch.setattr("ctypes.CDLL", fail)
    assert Session(Path("image.onnx")).input == "pixels"


# -- devices ----------------------------------------------------------------------------------------------------------


def test_auto_takes_cuda_where_it_is_built_in(install: Callable[..., FakeRuntime]) -> None:
    install(CUDA, CPU)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"


def test_cuda_that_is_not_built_in_is_an_error_and_auto_does_without(install: Callable[..., FakeRuntime]) -> None:
    install("AzureExecutionProvider", CPU)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(DeviceError, match="no CUDA provider") as caught:
        resolve_device("cuda")
    assert "mmr-runtime[gpu]" in caught.value.hint


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        resolve_device("tpu")  # type: ignore[arg-type]


def test_threads_are_the_allowed_cores_up_to_four(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= allowed_cores() <= (os.cpu_count() or 1)
    for cores, threads in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(sessions, "allowed_cores", lambda cores=cores: cores)
        assert default_threads() == threads


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("nonsense", 8)]
)
def test_cores_are_the_least_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(sessions, "Path", lambda _: tmp_path / "cpu.max")
    assert allowed_cores() == cores


# -- importing onnxruntime --------------------------------------------------------------------------------------------


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime': print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from mmr_runtime.sessions import load_onnxruntime, telemetry_is_off\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "load_onnxruntime(); print(telemetry_is_off())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert done.stdout.split() == ["1", "True"]


def test_a_fresh_home_stays_empty(tmp_path: Path) -> None:
    code = "from mmr_runtime.sessions import load_onnxruntime; load_onnxruntime()"
    hidden = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.rglob("*")) == []


def test_a_host_that_imported_onnxruntime_first_has_made_the_choice(
    install: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(CPU)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert not sessions.telemetry_is_off()
    load_onnxruntime()
    assert "ORT_DISABLE_TELEMETRY" not in os.environ


class Refuses:
    """A finder with which the import of onnxruntime fails."""

    def __init__(self, error: ImportError) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "onnxruntime":
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"), "onnxruntime is not installed"),
        (ImportError("libcudart.so.12: cannot open"), "onnxruntime cannot be loaded: libcudart.so.12: cannot open"),
        (ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers"), "No module named 'flatbuffers'"),
    ],
    ids=["missing", "broken", "incomplete"],
)
def test_onnxruntime_that_cannot_be_imported_is_named_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, message: str
) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuses(error), *sys.meta_path])
    with pytest.raises(DeviceError) as caught:
        load_onnxruntime()
    assert message in caught.value.message
    assert "pip install 'mmr-runtime[cpu]'" in caught.value.hint


def test_an_onnxruntime_in_pieces_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(DeviceError, match="installed twice or in pieces"):
        load_onnxruntime()
