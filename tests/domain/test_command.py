"""What a device is told: computed from what it owes, the same each time."""

from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.assignment import State
from kernex.domain.command import CommandType, Order, Standing, orders

standings = st.lists(
    st.builds(
        Standing,
        st.integers(1, 20),
        st.sampled_from(["vad", "wake", "ocr"]),
        st.sampled_from(State),
        st.integers(1, 99),
    ),
    unique_by=(lambda one: one.deployment, lambda one: one.rank),
)


@given(standings)
def test_at_most_one_deployment_per_app_is_offered_and_it_is_the_newest(owed: list[Standing]) -> None:
    offered = [order.deployment for order in orders(owed) if order.type is CommandType.DEPLOY]
    for app in {one.app for one in owed}:
        wanted = [one for one in owed if one.app == app and not one.state.final and one.state is not State.CANCELLING]
        newest = max(wanted, key=lambda one: one.rank, default=None)
        assert [one.deployment for one in wanted if one.deployment in offered] == (
            [newest.deployment] if newest else []
        )


@given(standings)
def test_everything_that_is_withdrawn_is_cancelled_and_nothing_else(owed: list[Standing]) -> None:
    cancelled = {order.deployment for order in orders(owed) if order.type is CommandType.CANCEL}
    assert cancelled == {one.deployment for one in owed if one.state is State.CANCELLING}


@given(standings, st.randoms())
def test_the_answer_does_not_depend_on_the_order_in_which_rows_come(owed: list[Standing], random: object) -> None:
    shuffled = list(owed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its Random as object
    assert set(orders(shuffled)) == set(orders(owed))


def test_asking_again_gets_the_same_answer() -> None:
    owed = [Standing(1, "vad", State.OFFERED, 1)]
    assert orders(owed) == orders(owed) == [Order(CommandType.DEPLOY, 1)]


def test_a_device_that_owes_nothing_is_told_nothing() -> None:
    assert orders([]) == []
    assert orders([Standing(1, "vad", State.SUCCEEDED, 1)]) == []


def test_cancels_come_before_deploys() -> None:
    owed = [Standing(1, "vad", State.OFFERED, 2), Standing(2, "vad", State.CANCELLING, 1)]
    assert orders(owed) == [Order(CommandType.CANCEL, 2), Order(CommandType.DEPLOY, 1)]
