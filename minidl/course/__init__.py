"""Homework that grades itself, and students' code at work in minidl."""

from minidl.course.grading import EXERCISES, grade
from minidl.course.report import Report, Result
from minidl.course.student import load_plan_maker

__all__ = ["EXERCISES", "Report", "Result", "grade", "load_plan_maker"]
