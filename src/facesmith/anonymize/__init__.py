"""Hiding faces in pictures and videos, in three steps: analyse (a plan), edit the plan, render."""
