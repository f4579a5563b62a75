from pydantic import Field, create_model
from record_factory import make_record

from leanboard.results.identity import cell_id
from leanboard.results.schema import PerformanceCell, Procedure


def test_labels_are_no_part_of_a_cells_identity() -> None:
    cell = make_record().cell
    renamed = cell.model_copy(update={"model": cell.model.model_copy(update={"name": "other"})})
    assert cell_id(renamed) == cell_id(cell)


def test_other_weights_are_another_cell() -> None:
    cell = make_record().cell
    other = cell.model.model_copy(update={"content_hash": "1" * 64})
    assert cell_id(cell.model_copy(update={"model": other})) != cell_id(cell)


def test_the_order_of_techniques_is_part_of_the_identity() -> None:
    one = make_record(techniques=["bf16", "static-cache"]).cell
    two = make_record(techniques=["static-cache", "bf16"]).cell
    assert cell_id(one) != cell_id(two)


def test_an_optional_field_that_the_schema_gains_later_leaves_identities_alone() -> None:
    cell = make_record().cell
    assert isinstance(cell, PerformanceCell)
    later = create_model("Later", __base__=Procedure, width=(float | None, Field(default=None)))
    later_cell = create_model("LaterCell", __base__=PerformanceCell, procedure=(later, ...))
    grown = later_cell.model_validate(cell.model_dump())
    assert cell_id(grown) == cell_id(cell)
    procedure = {**cell.procedure.model_dump(), "width": 0.05}
    asked = later_cell.model_validate({**cell.model_dump(), "procedure": procedure})
    assert cell_id(asked) != cell_id(cell)
