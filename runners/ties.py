"""Ask the baseline how near a tie its greedy outputs are left by those of a candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from leanboard.metrics.lossless import partings, with_tie_gaps
from leanboard.metrics.trace import RequestObservation
from leanboard.results.errors import LeanboardError
from leanboard.runners.accuracy.fidelity import tie_gaps
from leanboard.runners.arms import RunningArm
from leanboard.runners.block import PreparedWorkload
from leanboard.runners.recording import Finished
from leanboard.runners.remote import RemoteEngine

NOT_JUDGED = "ties not judged"
"""How the warning begins that says why differing outputs were not looked at more closely."""


@dataclass(slots=True)
class TieJudge:
    """Judges what was timed, before it is recorded.

    What goes wrong here takes nothing away: the runs are recorded without the judgement.

    Args:
        baseline: the arm, whose process may have ended.
        timeout_s: limit for each single call.
        interrupted: whether Ctrl-C came meanwhile; the rest is then recorded as it is, and whoever
            goes on asks for the signal (``interrupt.raise_if_asked``).
    """

    baseline: RunningArm
    timeout_s: float
    interrupted: bool = False

    def judged(
        self, candidate: Finished, reference: Finished, workload: PreparedWorkload
    ) -> Finished:
        """Return the candidate's run with the gaps on its requests, or with the reason for none."""
        seen, theirs = candidate.observation, reference.observation
        if candidate.error is not None or reference.error is not None or self.interrupted:
            return candidate
        if not isinstance(seen, RequestObservation) or not isinstance(theirs, RequestObservation):
            return candidate
        if not partings(seen, theirs):
            return candidate
        try:
            return replace(candidate, observation=self._with_gaps(seen, theirs, workload))
        except LeanboardError as error:
            reason = str(error)
        except KeyboardInterrupt:
            self.interrupted = True
            reason = "the run was interrupted"
        return replace(candidate, warnings=(*candidate.warnings, f"{NOT_JUDGED}: {reason}"))

    def _with_gaps(
        self, seen: RequestObservation, theirs: RequestObservation, workload: PreparedWorkload
    ) -> RequestObservation:
        worker, vocabulary = self.baseline.process, self.baseline.vocabulary
        if worker is None or vocabulary is None or not worker.running:
            raise LeanboardError("the baseline was not loaded any more")
        prompts = {prompt.prompt_id: prompt.text for prompt in workload.prompts.prompts}
        worker.resume()
        try:
            engine = RemoteEngine(worker, vocabulary, self.timeout_s)
            gaps = tie_gaps(engine, partings(seen, theirs), prompts)
        finally:
            worker.pause()
        return with_tie_gaps(seen, theirs, gaps)
