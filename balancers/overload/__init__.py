"""Protects a pool that gets more requests than it can serve."""

from balancers.overload.admission_queue import AdmissionQueue as AdmissionQueue
from balancers.overload.admission_queue import Waiting as Waiting
from balancers.overload.retry_budget import BudgetedRequest as BudgetedRequest
from balancers.overload.retry_budget import RetryBudget as RetryBudget
