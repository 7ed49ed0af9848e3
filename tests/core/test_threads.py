"""One torch thread for a while, and what is left behind."""

import threading

import torch

from sfumato.core.threads import one_torch_thread


def test_what_was_comes_back_also_from_inside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_torch_thread():
            with one_torch_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_that_overlap_leave_what_was_there_before_the_first() -> None:
    entered, left, found = threading.Event(), threading.Event(), []

    def second() -> None:
        with one_torch_thread():
            entered.set()
            left.wait(10)
        found.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = threading.Thread(target=second)
        with one_torch_thread():
            other.start()
            assert entered.wait(10)
        left.set()
        other.join()
        assert (torch.get_num_threads(), found) == (2, [2])
    finally:
        torch.set_num_threads(before)
