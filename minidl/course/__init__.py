"""Homework that grades itself, and students' code at work in minidl."""

from minidl.course.grading import EXERCISES, grade
from minidl.course.programs import load_plan_maker
from minidl.course.report import Report, Result

__all__ = ["EXERCISES", "Report", "Result", "grade", "load_plan_maker"]
