"""Quotas of control groups, wherever a kernel, a container or a batch system puts them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime.machine.cgroups import Limits, read_limits

HALF_GIB = 1 << 29
UNLIMITED = 9223372036854771712  # what version 1 says for no limit
V2 = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def write(root: Path, files: dict[str, str]) -> Path:
    """A machine: what it shows in files, by path."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return root


def proc(groups: str, *mounts: str) -> dict[str, str]:
    """What the kernel says of a process."""
    rest = ["22 1 254:0 / / rw - ext4 /dev/root rw", "23 22 0:5 / /proc rw - proc proc rw"]
    return {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join([*rest, *mounts])}


def test_a_machine_without_groups(tmp_path: Path) -> None:
    assert read_limits(tmp_path) == Limits()
    assert read_limits(write(tmp_path, proc(""))) == Limits()


def test_version_2_as_a_container_sees_it(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "150000 100000", "sys/fs/cgroup/memory.max": "536870912"}
    assert read_limits(write(tmp_path, proc("0::/", V2) | files)) == Limits(1.5, HALF_GIB)


def test_version_2_without_a_word_of_the_kernel(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "100000 100000", "sys/fs/cgroup/memory.max": "max"}
    assert read_limits(write(tmp_path, files)) == Limits(1.0, None)


def test_version_2_below_its_root(tmp_path: Path) -> None:
    """A service of systemd: its slice has more, its neighbour less."""
    group = "sys/fs/cgroup/system.slice"
    files = {
        f"{group}/cpu.max": "400000 100000",
        f"{group}/emlb.service/cpu.max": "100000 50000",
        f"{group}/emlb.service/memory.max": "max",
        f"{group}/memory.max": "536870912",
        f"{group}/other.service/cpu.max": "10000 100000",
    }
    kernel = proc("0::/system.slice/emlb.service", V2)
    assert read_limits(write(tmp_path, kernel | files)) == Limits(2.0, HALF_GIB)


def test_slurm_on_version_2(tmp_path: Path) -> None:
    """The job has the limit, the task that runs two groups further down has none."""
    job = "system.slice/slurmstepd.scope/job_4711"
    files = {
        f"sys/fs/cgroup/{job}/memory.max": "536870912",
        f"sys/fs/cgroup/{job}/cpu.max": "max 100000",
        f"sys/fs/cgroup/{job}/step_0/user/task_0/memory.max": "max",
    }
    kernel = proc(f"0::/{job}/step_0/user/task_0", V2)
    assert read_limits(write(tmp_path, kernel | files)) == Limits(None, HALF_GIB)


def test_slurm_on_version_1(tmp_path: Path) -> None:
    job = "slurm/uid_1000/job_4711"
    memory = f"sys/fs/cgroup/memory/{job}"
    cpu = f"sys/fs/cgroup/cpu,cpuacct/{job}"
    files = {
        f"{memory}/memory.limit_in_bytes": "536870912",
        f"{memory}/step_0/memory.limit_in_bytes": str(UNLIMITED),
        f"{cpu}/cpu.cfs_quota_us": "300000",
        f"{cpu}/cpu.cfs_period_us": "100000",
        f"{cpu}/step_0/cpu.cfs_quota_us": "-1",
        f"{cpu}/step_0/cpu.cfs_period_us": "100000",
    }
    groups = f"4:memory:/{job}/step_0\n3:cpu,cpuacct:/{job}/step_0\n1:name=systemd:/x"
    mounts = (
        "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
        "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 master:2 - cgroup cgroup rw,memory",
    )
    found = read_limits(write(tmp_path, proc(groups, *mounts) | files))
    assert found == Limits(3.0, HALF_GIB)


def test_docker_on_version_1(tmp_path: Path) -> None:
    """The mount shows the container's own group, whose name the kernel gives in full."""
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us": "25000",
        "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912",
    }
    groups = "3:cpu,cpuacct:/docker/4f2a/inner\n4:memory:/docker/4f2a"
    mounts = (
        "33 31 0:30 /docker/4f2a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct",
        "35 31 0:32 /docker/4f2a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
    )
    found = read_limits(write(tmp_path, proc(groups, *mounts) | files))
    assert found == Limits(0.25, HALF_GIB)


def test_both_versions_at_once(tmp_path: Path) -> None:
    """systemd's hybrid: version 2 has no controllers. And a mount point with a space in it."""
    files = {
        "mnt/c groups/cpu/job/cpu.cfs_quota_us": "200000",
        "mnt/c groups/cpu/job/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/job/cgroup.procs": "1",
    }
    mounts = (
        "32 31 0:29 / /mnt/c\\040groups/cpu rw - cgroup none rw,cpu",
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    )
    kernel = proc("1:cpu:/job\n0::/job", *mounts)
    assert read_limits(write(tmp_path, kernel | files)) == Limits(2.0, None)


@pytest.mark.parametrize("group", ["/../other", "/../..", "/elsewhere/job"])
def test_a_group_that_the_mount_does_not_show(tmp_path: Path, group: str) -> None:
    mount = "31 24 0:27 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
    files = {
        "sys/fs/cgroup/cpu.max": "100000 100000",
        "sys/fs/cgroup/elsewhere/job/cpu.max": "1000 100000",
        "sys/fs/other/cpu.max": "1000 100000",
    }
    assert read_limits(write(tmp_path, proc(f"0::{group}", mount) | files)).cpus == 1.0


@pytest.mark.parametrize(
    "text", ["", "max", "max 100000", "x y", "0 100000", "100000 0", "-1 100000", "1 2 3", "\udc80"]
)
def test_what_is_no_quota(tmp_path: Path, text: str) -> None:
    write(tmp_path, proc("0::/", V2))
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_limits(tmp_path) == Limits()


names = st.sampled_from(["a", "b.slice", "job_1", "step-0"])
quotas = st.one_of(st.none(), st.integers(1000, 10_000_000))


@settings(max_examples=50)
@given(
    path=st.lists(st.tuples(names, quotas), max_size=5),
    beside=quotas,
    shown=st.integers(0, 5),
    version=st.sampled_from([1, 2]),
)
def test_the_tightest_of_those_above(
    path: Sequence[tuple[str, int | None]], beside: int | None, shown: int, version: int
) -> None:
    """Whatever part of the hierarchy is shown, neighbours and groups below do not count."""
    shown = min(shown, len(path))
    group = "/" + "/".join(name for name, _ in path)
    root = "/" + "/".join(name for name, _ in path[:shown])
    top = "sys/fs/cgroup" + ("" if version == 2 else "/cpu")
    kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,cpu"
    files = proc(
        f"0::{group}" if version == 2 else f"3:cpu:{group}", f"31 24 0:27 {root} /{top} rw - {kind}"
    )

    def limit(folder: str, quota: int | None) -> None:
        if version == 2:
            files[f"{folder}/cpu.max"] = f"{'max' if quota is None else quota} 100000"
        else:
            files[f"{folder}/cpu.cfs_quota_us"] = str(-1 if quota is None else quota)
            files[f"{folder}/cpu.cfs_period_us"] = "100000"

    folder, own = top, []
    if shown:
        limit(folder, path[shown - 1][1])
        own.append(path[shown - 1][1])
    for name, quota in path[shown:]:
        limit(f"{folder}/neighbour", beside)
        folder = f"{folder}/{name}"
        limit(folder, quota)
        own.append(quota)
    limit(f"{folder}/below", beside)
    expected = min((q / 100_000 for q in own if q is not None), default=None)
    with TemporaryDirectory() as made:
        assert read_limits(write(Path(made), files)).cpus == expected


# In a new mount namespace: what the kernel shows, by hand, and the process's own group.
LAYOUT = r"""
set -e
mount --make-rprivate / 
mount -t tmpfs tmpfs /sys/fs/cgroup
g=/sys/fs/cgroup
case $1 in
  v2) echo "100000 100000" > $g/cpu.max; echo 536870912 > $g/memory.max;;
  v1) mkdir -p $g/cpu,cpuacct $g/memory; ln -s cpu,cpuacct $g/cpu
      echo 100000 > $g/cpu/cpu.cfs_quota_us; echo 100000 > $g/cpu/cpu.cfs_period_us
      echo 536870912 > $g/memory/memory.limit_in_bytes;;
  below) mkdir -p $g/system.slice/job.scope
      echo "100000 100000" > $g/system.slice/job.scope/cpu.max
      echo 536870912 > $g/system.slice/job.scope/memory.max
      echo "0::/system.slice/job.scope" > "$2/cgroup"
      sed "s, - cgroup2 , - was ," /proc/self/mountinfo > "$2/mountinfo"
      echo "99 1 0:99 / $g rw - cgroup2 cgroup2 rw" >> "$2/mountinfo"
      mount --bind "$2/cgroup" /proc/$$/cgroup; mount --bind "$2/mountinfo" /proc/$$/mountinfo;;
esac
shift 2
exec "$@"
"""
LOAD = """
from emlb_runtime import Extractor
from emlb_runtime.machine.info import read_machine
machine, extractor = read_machine(), Extractor.load(provider="cpu")
print(machine.cores, machine.memory, extractor.info.workers)
"""


@pytest.mark.parametrize("layout", ["v2", "v1", "below"])
def test_one_core_and_one_worker(tmp_path: Path, layout: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here")
    prefix = [unshare, "--map-root-user", "--mount", "sh", "-c", LAYOUT, "sh", layout]
    command = [*prefix, str(tmp_path)]
    if subprocess.run([*command, "true"], capture_output=True, timeout=60).returncode:
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        [*command, sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=240
    )
    assert (done.stdout, done.returncode) == (f"1 {HALF_GIB} 1\n", 0), done.stderr
