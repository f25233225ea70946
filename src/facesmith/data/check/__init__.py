"""What may be wrong with labelled photographs: each check gives :class:`~facesmith.data.check.problems.Problem`."""
