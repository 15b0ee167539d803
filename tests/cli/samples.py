"""Flows that the tests of the command line make logs with."""

from datetime import date

from durable_nb import flow, signal, sleep, step


@step
def cli_price(item: str) -> float:
    print("looking up", item)
    return {"tea": 2.5, "cake": 4.0}[item]


@step(retry=2)
def cli_flaky(text: str) -> str:
    raise OSError(text)


@step(codec="pickle")
def cli_pickled(day: date) -> date:
    return day


@step(tag="gpu")
def cli_train(name: str) -> str:
    return name


@flow
def cli_tagged(name: str) -> str:
    return cli_train(name)


@flow
def cli_bill(items: list[str]) -> float:
    return sum(cli_price(item) for item in items)


@flow
def cli_failing(text: str) -> str:
    return cli_flaky.options(retry=1)(text)


@flow
def cli_waiting() -> str:
    sleep("1d")
    return "done"


@flow
def cli_stored(day: date) -> date:
    return cli_pickled(day)


@flow
def cli_deciding() -> object:
    return signal("answer").result()


@flow
def cli_family() -> object:
    return cli_deciding.spawn().result()
