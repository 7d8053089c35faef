"""`PyDataset`: order, workers, and what happens when something goes wrong."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import lamina
from lamina import data, layers

WAYS = {
    "inline": {},
    "threads": {"workers": 3},
    "process": {"workers": 1, "use_multiprocessing": True},
    "processes": {"workers": 2, "use_multiprocessing": True, "max_queue_size": 2},
}
every_way = pytest.mark.parametrize("way", WAYS)


class Numbers(lamina.utils.PyDataset):
    def __init__(self, length=7, fails=None, **kwargs):
        super().__init__(**kwargs)
        self.length, self.fails, self.begun, self.ended = length, fails, 0, 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.fails:
            raise LookupError("no such page")
        rows = np.full((2, 1), index + 100 * self.ended, "float32")
        return rows, rows * 2

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.ended += 1


class Endless(Numbers):
    num_batches = None


class Drawn(Numbers):
    def __getitem__(self, index):
        return np.array([[random.random(), np.random.random()]], "float32")


class Reordered(Drawn):
    """The usual way to shuffle: by the global generator, between the epochs."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.order = np.arange(self.length)

    def __getitem__(self, index):
        place = np.array([[self.order[index], 0]], "float32")
        return place + super().__getitem__(index) / 2

    def on_epoch_end(self):
        np.random.shuffle(self.order)


class Killed(Numbers):
    def __getitem__(self, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Stuck(Numbers):
    def __getitem__(self, index):
        if index > 1:
            time.sleep(600)
        return super().__getitem__(index)


class Spy(Numbers):
    def __getitem__(self, index):
        loaded = [name in sys.modules for name in ("jax", "jaxlib", "lamina.core")]
        return np.array([[os.getpid(), *loaded]])


class Unsendable(Numbers):
    def __getitem__(self, index):
        return lambda: index


class Local(Exception):
    def __init__(self, one, two):
        super().__init__("text")


class Odd(Numbers):
    def __getitem__(self, index):
        raise Local(1, 2)


def seen(source):
    return [int(x[0, 0]) for x, *_ in source.epoch()]


class Joins(Numbers):
    """As of a script that joins a run by itself when it is imported."""

    def __getitem__(self, index):
        import jax  # not in the other workers of this file
        from jax._src import distributed

        jax.distributed.initialize("127.0.0.1:1", num_processes=3, process_id=1)
        lamina.distribution.initialize("127.0.0.1:1", num_processes=3, process_id=1)
        assert distributed.global_state.client is None
        D = lamina.distribution
        mesh = D.DeviceMesh((2, 1), ["batch", "model"], D.list_devices())
        with D.DataParallel(device_mesh=mesh).scope():
            assert D.distribution().num_model_replicas == 2
            layer = lamina.layers.Dense(1)
            assert layer(np.ones((2, 3))).shape == (2, 1)
        assert D.list_devices("cpu") == ["cpu:0"]
        return np.full((2, 1), jax.process_index()), np.full(2, jax.process_count())


def test_a_worker_joins_no_run_and_is_the_process_that_it_works_for(monkeypatch):
    from lamina.core import placement, processes

    monkeypatch.setattr(processes, "of_how_many", lambda: (1, 3))
    monkeypatch.setattr(placement.Distribution, "any_made", True)
    devices = {None: ["gpu:0", "gpu:1"], "cpu": ["cpu:0"]}
    monkeypatch.setattr(placement, "list_devices", lambda kind=None: devices[kind])
    source = data.open_source(Joins(1, **WAYS["process"]))
    x, y, _ = source.first()
    assert x.tolist() == [[1], [1]]
    assert y.tolist() == [3, 3]


@every_way
def test_order_epochs_and_events(way):
    numbers = Numbers(**WAYS[way])
    source = data.open_source(numbers)
    assert source.batches == 7
    assert source.first()[0].tolist() == [[0], [0]]
    assert seen(source) == list(range(7))
    # What `on_epoch_end` changed reaches the workers.
    assert seen(source) == [100 + i for i in range(7)]
    assert (numbers.begun, numbers.ended) == (2, 2)


@every_way
def test_shuffled_order_follows_from_the_seed_alone(way):
    orders = []
    for seed in (5, 6):
        source = data.open_source(Numbers(**WAYS[way]), shuffle=True, seed=seed)
        orders.append([[i % 100 for i in seen(source)] for _ in range(2)])
    assert orders[0] != orders[1]
    assert orders[0][0] != orders[0][1]
    assert all(sorted(order) == list(range(7)) for order in orders[0])
    inline = data.open_source(Numbers(), shuffle=True, seed=5)
    assert [[i % 100 for i in seen(inline)] for _ in range(2)] == orders[0]


@pytest.mark.parametrize("way", ["process", "processes"])
def test_global_generators_give_the_same_numbers_in_processes(way):
    def drawn(**kwargs):
        source = data.open_source(Drawn(4, **kwargs), seed=1)
        return np.concatenate([x for _ in range(2) for x, *_ in source.epoch()])

    before = random.getstate(), np.random.get_state()[1].tolist()
    inline = drawn()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    np.testing.assert_array_equal(inline, drawn(**WAYS[way]))
    assert len(np.unique(inline)) == inline.size


@every_way
def test_steps_go_on_where_the_last_epoch_ended(way):
    source = data.open_source(Numbers(5, **WAYS[way]), steps=3)
    taken = [i % 100 for _ in range(3) for i in seen(source)]
    assert taken == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    source = data.open_source(Endless(**WAYS[way]), steps=4)
    assert [i % 100 for _ in range(2) for i in seen(source)] == list(range(8))
    assert seen(data.open_source(Numbers(2, **WAYS[way]), steps=9)) == [0, 1]


@every_way
def test_an_exception_names_the_item(way):
    source = data.open_source(Numbers(fails=4, **WAYS[way]))
    got = []
    with pytest.raises(LookupError, match="no such page") as caught:
        got.extend(int(x[0, 0]) for x, *_ in source.epoch())
    assert got == [0, 1, 2, 3]
    notes = "\n".join(caught.value.__notes__)
    assert "item 4 of `Numbers`" in notes
    if "process" in way:
        assert 'raise LookupError("no such page")' in notes


def test_exceptions_and_items_that_cannot_travel():
    kwargs = WAYS["process"]
    with pytest.raises(RuntimeError, match="Local: text") as caught:
        data.open_source(Odd(**kwargs)).first()
    assert "item 0 of `Odd`" in "".join(caught.value.__notes__)
    with pytest.raises(Exception, match="(?i)pickle"):
        data.open_source(Unsendable(**kwargs)).first()

    class Inner(Numbers):
        pass

    with pytest.raises(AttributeError) as caught:
        data.open_source(Inner(**kwargs)).first()
    assert "top of a module" in caught.value.__notes__[-1]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_worker_is_an_error():
    source = data.open_source(Killed(**WAYS["processes"]))
    with pytest.raises(RuntimeError, match=r"item 3 \(killed by SIGKILL\)"):
        seen(source)


@pytest.mark.parametrize("way", ["threads", "processes"])
def test_leaving_early_leaves_nothing_behind(way):
    source = data.open_source(Stuck(**WAYS[way]))
    batches = source.epoch()
    next(batches)
    workers = [w._process for w in source._pool._end.peek()[2][1] if w is not None]
    batches.close()
    assert source._pool is None
    assert all(process.poll() is not None for process in workers)


def test_an_item_that_never_ends_keeps_nobody_from_the_generators():
    lamina.utils.set_random_seed(5)
    before = random.getstate()
    source = data.open_source(Stuck(**WAYS["threads"]))
    batches = source.epoch()
    next(batches), next(batches)
    time.sleep(0.05)  # the third one is at work
    batches.close()
    done = threading.Thread(target=lamina.utils.set_random_seed, args=(5,), daemon=True)
    done.start()
    done.join(20)
    assert not done.is_alive()
    assert random.getstate() == before
    assert seen(data.open_source(Numbers(**WAYS["threads"]))) == list(range(7))


def test_workers_end_with_the_source():
    before = threading.active_count()
    source = data.open_source(Numbers(**WAYS["processes"]))
    seen(source)
    processes = [w._process for w in source._pool._end.peek()[2][1]]
    assert all(process.poll() is None for process in processes)
    del source
    assert all(process.poll() is not None for process in processes)
    for _ in range(500):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("way", ["threads", "processes"])
def test_control_c_ends_the_wait(way):
    batches = data.open_source(Stuck(**WAYS[way])).epoch()
    next(batches), next(batches)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    timer.join()


@pytest.mark.parametrize("way", ["inline", "processes"])
@pytest.mark.parametrize("steps", [None, 4])
def test_a_source_goes_on_from_a_mark(way, steps):
    def opened(seed):
        kwargs = {"shuffle": True, "steps": steps, "seed": seed}
        return data.open_source(Reordered(6, **WAYS[way]), **kwargs)

    def rest(source, skip):
        return np.concatenate([x for x, *_ in source.epoch(skip)])

    whole = opened(1)
    epochs, marks = [], []
    for _ in range(3):
        marks.append(whole.mark())
        epochs.append(rest(whole, 0))
    places = (
        ((0, 2), (1, 3)) if way == "processes" else ((0, 0), (0, 2), (1, 3), (2, 1))
    )
    for epoch, skip in places:
        source = opened(None)
        source.first()
        source.go_to(marks[epoch])
        np.testing.assert_array_equal(rest(source, skip), epochs[epoch][skip:])
        if epoch == 1:
            assert source.mark() == marks[2]
            np.testing.assert_array_equal(rest(source, 0), epochs[2])


def test_worker_processes_never_import_jax():
    source = data.open_source(Spy(3, **WAYS["processes"]))
    rows = np.concatenate([x for x, *_ in source.epoch()])
    assert os.getpid() not in rows[:, 0]
    assert not rows[:, 1:].any()


def test_queue_is_bounded():
    made = []

    class Counting(Numbers):
        def __getitem__(self, index):
            made.append(index)
            return super().__getitem__(index)

    batches = data.open_source(Counting(50, workers=4, max_queue_size=3)).epoch()
    next(batches)
    time.sleep(0.05)
    assert len(made) <= 4
    batches.close()


def test_iteration_and_defaults():
    class Bare(lamina.utils.PyDataset):
        def __init__(self):
            pass

        def __getitem__(self, index):
            return index

    bare = Bare()
    assert (bare.workers, bare.use_multiprocessing, bare.max_queue_size) == (1, 0, 10)
    assert [item for item, _ in zip(bare, range(12), strict=False)][-1] == 11
    with pytest.raises(NotImplementedError, match="`Bare` needs `__len__`"):
        data.open_source(bare)
    assert [x[0, 0] for x, _ in Numbers(2)] == [0, 1]
    assert lamina.utils.Sequence is lamina.utils.PyDataset
    with pytest.raises(NotImplementedError, match="__getitem__"):
        lamina.utils.PyDataset()[0]


def test_bad_input():
    with pytest.raises(ValueError, match="steps_per_epoch"):
        data.open_source(Endless())
    with pytest.raises(ValueError, match="yielded no batch"):
        data.open_source(Numbers(0)).first()
    with pytest.raises(ValueError, match="`y` comes with them"):
        data.open_source(Numbers(), np.zeros(3))


def trained(**kwargs):
    lamina.utils.set_random_seed(3)
    model = lamina.Sequential([layers.Dense(2), layers.Dense(1)])
    model.compile("adam", "mse")
    held_out = Numbers(2, **kwargs)
    history = model.fit(
        Numbers(5, **kwargs), epochs=2, verbose=0, validation_data=held_out
    )
    predicted = model.predict(Numbers(3, **kwargs), verbose=0)
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    return history.history, weights, predicted, model.evaluate(held_out, verbose=0)


def test_training_is_the_same_for_any_number_of_workers():
    inline = trained()
    for way in ("threads", "processes"):
        history, *arrays = trained(**WAYS[way])
        assert history == inline[0]
        for a, b in zip(arrays, inline[1:], strict=True):
            np.testing.assert_array_equal(a, b)


SCRIPT = """
import numpy as np
import lamina

class Mine(lamina.utils.PyDataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        print("made")
        return np.ones((2, 1)), np.ones((2, 1))

{guard}
    model = lamina.Sequential([lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(Mine(workers=2, use_multiprocessing=True), verbose=0)
    print("trained")
"""


@pytest.mark.parametrize("guard", ['if __name__ == "__main__":', "if True:"])
def test_a_class_of_the_script_itself(tmp_path, guard):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT.format(guard=guard)))
    source = os.path.dirname(os.path.dirname(lamina.__file__))  # noqa: PTH120
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    if guard == "if True:":
        assert done.returncode == 1
        assert 'Put that part under `if __name__ == "__main__":`' in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr


class Sometimes(Numbers):
    """Draws for some items only, after others have shown that there are no draws."""

    draws = (4, 6)

    def __getitem__(self, index):
        time.sleep(0.002)
        drawn = random.random() + np.random.random() if index in self.draws else 0
        return np.full((1, 1), index + drawn, "float32")


class Always(Sometimes):
    draws = range(7)


@pytest.mark.parametrize("kind", [Always, Sometimes])
def test_threads_that_draw_give_the_same_numbers_and_say_so(kind):
    def run(workers):
        np.random.seed(7)
        random.seed(7)
        source = data.open_source(kind(workers=workers))
        made = [np.asarray(x).item() for _ in range(2) for x, *_ in source.epoch()]
        return made, np.random.random(), random.random()

    expected = run(1)
    with pytest.warns(UserWarning, match=f"`{kind.__name__}` draws.*one after the oth"):
        found = run(3)
    if kind is Always:
        assert found == expected
    with pytest.warns(UserWarning) as warned:
        assert run(3)[0] == found[0]
    assert len(warned) == 1


@pytest.mark.parametrize("besides", [False, True])
def test_items_that_do_not_draw_are_made_at_once_without_a_word(besides):
    both = threading.Barrier(2, timeout=20)

    class Meeting(Numbers):
        def __getitem__(self, index):
            if index > 1 and not besides:  # the first finds out whether there are draws
                both.wait()
            np.random.default_rng(index).random()
            return super().__getitem__(index)

    source = data.open_source(Meeting(8, workers=2))
    made = []
    for x, *_ in source.epoch():
        if besides:
            np.random.random(), random.random()
        made.append(np.asarray(x)[0, 0].item())
    assert made == list(range(8))


class Kept(Numbers):
    """Draws from a generator that all items share."""

    def __init__(self, generator, **kwargs):
        super().__init__(**kwargs)
        self.generator = generator

    def __getitem__(self, index):
        return np.full((2, 1), self.generator.random(), "float32")


@pytest.mark.parametrize("way", ["threads", "processes"])
@pytest.mark.parametrize(
    "kind", [np.random.default_rng, np.random.RandomState, random.Random]
)
def test_a_generator_that_items_share_is_told_of(way, kind):
    source = data.open_source(Kept(kind(1), **WAYS[way]))
    with pytest.warns(UserWarning, match="Items of `Kept` draw from a gener") as told:
        assert len([*source.epoch()]) == 7
    assert len(told) == 1


GENERATOR = np.random.RandomState(1)


def from_global():
    return GENERATOR.random()


class Deep:
    __slots__ = ("parts",)

    def __init__(self):
        self.parts = [{"one": random.Random(1)}]

    def random(self):
        return self.parts[0]["one"].random()


def closed_over():
    generator = np.random.default_rng(1)
    return lambda: generator.random()


def unused():
    return 0.5 if GENERATOR is not None else random.random()


class Hidden(Kept):
    """Draws from a generator that is none of its own attributes."""

    def __getitem__(self, index):
        return np.full((2, 1), self.generator(), "float32")


@pytest.mark.parametrize(
    "make", [lambda: from_global, lambda: Deep().random, closed_over]
)
def test_a_generator_behind_the_code_of_items_is_told_of(make):
    source = data.open_source(Hidden(make(), **WAYS["threads"]))
    with pytest.warns(UserWarning, match="Items of `Hidden` draw from a gener") as told:
        assert len([*source.epoch()]) == 7
    assert len(told) == 1
    assert len([*data.open_source(Hidden(unused, **WAYS["threads"])).epoch()]) == 7


class Seeded(Kept):
    """Draws from one of our generators, its own or the global one."""

    def __getitem__(self, index):
        return lamina.random.normal((2, 1), seed=self.generator)


@pytest.mark.parametrize("own", [True, False])
def test_a_generator_of_ours_that_items_share_is_told_of(own):
    kept = lamina.random.SeedGenerator(1) if own else None
    source = data.open_source(Seeded(kept, **WAYS["threads"]))
    with pytest.warns(UserWarning, match="Items of `Seeded` draw from a ge") as told:
        assert len([*source.epoch()]) == 7
    assert len(told) == 1


class Beside(Numbers):
    """Draws nothing, while another thread does."""

    def __getitem__(self, index):
        thread = threading.Thread(target=lamina.random.normal, args=((1,),))
        thread.start()
        thread.join()
        return super().__getitem__(index)


def test_draws_of_other_threads_are_their_own():
    lamina.random.normal((1,))  # the first one seeds the generator
    assert len([*data.open_source(Beside(**WAYS["threads"])).epoch()]) == 7


@pytest.mark.parametrize("way", ["inline", "process"])
def test_one_worker_draws_in_order(way):
    found = []
    for _ in range(2):
        source = data.open_source(Kept(np.random.default_rng(1), **WAYS[way]))
        found.append([np.asarray(x).tolist() for x, *_ in source.epoch()])
    assert found[0] == found[1]
