"""Checks the balancer with an excuse, and prints the line of the excused law."""

from test_tree_choice import EXCUSES, TRAITS, ReportingTreeChoice

from balancers.testing import check_balancer

report = check_balancer(ReportingTreeChoice, TRAITS, examples=100, excuses=EXCUSES)
print(*(line for line in str(report).splitlines() if "excused" in line), sep="\n")
