"""Which modules are mutated, whole or by a sample, and which tests matter for each.

The tests come in the order in which they are run, until one fails: those that kill most, and take
least, first. A module's row is the one with the longest beginning of its path.
"""

from __future__ import annotations

WHOLE = ("_check/", "_hooks/", "_keys", "_types", "_scope", "_registry/model", "_registry/validate")

_VERDICTS = ["check/test_verdicts.py", "check/test_wrong_calls.py"]
_GENERATED = [
    "properties/test_do_verdicts_follow_the_contract.py",
    "check/test_does_the_fast_path_agree_with_the_verdict.py",
]
_LOG = ["check/test_observers_and_log.py", "check/test_no_key_is_shown.py"]
_TEXTS = ["check/test_error_texts.py", "check/test_where_did_the_value_come_from.py", *_LOG]
_ANSWERS = ["check/test_drift_and_learning.py", "hooks/test_answers_to_other_libraries.py"]
_OWN_WAYS = [
    "hooks/test_event_hooks_auth_and_redirects.py",
    "hooks/test_ways_around_the_transport_hook.py",
]
_SCOPES = [
    "check/test_guard_scopes.py",
    "check/test_guard_in_tasks_and_threads.py",
    "check/test_guard_generators.py",
    "check/test_guard_decorator.py",
    "properties/test_scopes_over_trees.py",
]
_CALLED = "check/test_where_was_it_called.py"
_OUTLIVES = "hooks/test_nothing_outlives_a_call.py"
_HANDED_OVER = "check/test_where_was_it_called_if_others_wait.py"
_REACHED = "check/test_does_the_fix_reach_the_registry.py"
_LOGGED = (
    "test_a_log_record_points_at_the_caller",
    "test_identical_verdicts_are_told_apart_by_their_call_site",
    "test_a_client_from_before_the_guard_says_so",
    "test_counts_come_by_themselves_though_nobody_calls",
    "test_counts_that_wait_are_logged_at_sigterm",
)
_THREADS = "hooks/test_threads_imports_and_signals.py"
_TOGETHER = (
    "test_first_scopes_that_are_entered_together_let_nothing_through",
    "test_enable_and_disable_from_many_threads_end_in_one_state",
    "test_enable_while_another_thread_imports_the_sdk",
    "test_enable_while_another_thread_imports_a_library_of_the_sdk",
    "test_what_is_imported_while_the_guard_is_being_enabled_is_hooked_with_the_rest",
    "test_a_pool_of_the_sdks_own_is_inside_the_scope",
    "test_each_submitted_call_takes_the_scope_of_its_submitter",
    "test_a_pool_of_multiprocessing_that_a_scope_made_is_not_in_it_for_ever",
    "test_a_thread_is_left_as_it_was",
)
_STARTING = (
    "test_a_run_of_a_threads_own_stays_on_it",
    "test_a_tool_whose_start_calls_run_with_the_thread_may_be_inside_ours",
    "test_a_thread_that_could_not_start_starts_later_in_the_scope_of_then",
    "test_a_thread_cannot_be_started_twice",
    "test_what_is_called_when_a_process_is_done_is_not_in_the_scope_that_made_the_pool",
)
_STARTED = (
    "test_the_start_says_by_what_calls_are_judged",
    "test_the_start_names_a_registry_that_is_no_file_too",
    "test_the_start_counts_a_key_of_two_registries_once",
    "test_scopes_say_so_too_where_the_guard_is_not_enabled",
    "test_a_reload_is_one_record",
)
_UNSUPPORTED = "hooks/test_unsupported_sdk.py"
_KEPT_ALIVE = "hooks/test_imported_again.py::test_no_import_is_kept_alive_by_the_guard"
_SOCKETS = "hooks/test_websockets_of_the_sdk.py"
_AFTERWARDS = "hooks/test_nothing_outlives_a_call.py"
_HOOKS = [
    *_VERDICTS,
    "hooks/test_http_clients.py",
    "hooks/test_calls_within_calls.py",
    "hooks/test_retries_and_rotated_keys.py",
    "hooks/test_event_hooks_auth_and_redirects.py",
    "hooks/test_hooks_are_transparent.py",
    "hooks/test_other_wrappers.py",
    "hooks/test_mocks_and_other_callables.py",
    "hooks/test_subclasses_and_copies.py",
    "hooks/test_ways_around_the_transport_hook.py",
    f"{_AFTERWARDS}::test_the_frames_of_an_error_hold_nothing_of_the_call",
    f"{_AFTERWARDS}::test_the_frames_of_a_fault_of_ours_hold_nothing_of_the_call",
    "hooks/test_faults_of_ours_and_of_others.py",
    "hooks/test_unsupported_sdk.py",
    "check/test_guard_scopes.py",
]

TESTS: dict[str, list[str]] = {
    "": [
        "settings",
        "check/test_guard_scopes.py",
        "check/test_observers_and_log.py",
        "check/test_whichever_way_a_call_takes.py",
        "check/test_errors_and_verdicts_are_values.py",
        _REACHED,
        "ecosystem/test_opentelemetry_prometheus_structlog.py",
        *(f"{_CALLED}::{name}" for name in _STARTED),
    ],
    "_check/": [*_VERDICTS, *_TEXTS, "check"],
    "_check/verdict": [
        *_VERDICTS,
        "check/test_errors_and_verdicts_are_values.py",
        *_GENERATED,
        "check/test_drift_and_learning.py",
        *_LOG,
    ],
    "_check/headers": [
        "properties/test_headers_in_values_out.py",
        "check/test_do_headers_read_alike_in_any_order.py",
        *_VERDICTS,
        _GENERATED[0],
        "hooks/test_which_hosts_are_checked.py",
        "hooks/test_faults_of_ours_and_of_others.py",
        "check/test_drift_and_learning.py",
        *_TEXTS,
    ],
    "_check/check": [
        *_VERDICTS,
        *_GENERATED,
        "check/test_keys_in_several_registries.py",
        "hooks/test_workload_identity.py",
        "hooks/test_faults_of_ours_and_of_others.py",
        *_TEXTS,
        "check/test_drift_and_learning.py",
        "audit/test_what_is_counted.py",
        "hooks/test_retries_and_rotated_keys.py",
        "hooks/test_calls_within_calls.py",
        *_OWN_WAYS,
        "check/test_whichever_way_a_call_takes.py",
        "check/test_guard_scopes.py",
    ],
    "_check/call": [
        *_VERDICTS,
        "check/test_drift_and_learning.py",
        "hooks/test_retries_and_rotated_keys.py",
        "hooks/test_calls_within_calls.py",
        *_OWN_WAYS,
        "hooks/test_websockets_opened_directly.py::test_observers_are_told_once_of_each_socket",
        "hooks/test_workload_identity.py",
        "hooks/test_faults_of_ours_and_of_others.py",
        *_TEXTS,
        "audit/test_what_is_counted.py",
    ],
    "_check/response": [
        *_ANSWERS,
        "check/test_keys_in_several_registries.py",
        _REACHED,
        "check/test_error_texts.py",
        "check/test_where_did_the_value_come_from.py",
        "hooks/test_faults_of_ours_and_of_others.py",
        "hooks/test_calls_within_calls.py",
        "hooks/test_mocks_and_other_callables.py",
        "check/test_no_key_is_shown.py",
    ],
    "_check/learn": [
        *_ANSWERS,
        "hooks/test_faults_of_ours_and_of_others.py",
        "registry/redis/test_learning.py::"
        "test_what_a_call_teaches_is_kept_in_the_shared_registry_alone",
        "hooks/test_websockets_opened_directly.py::"
        "test_a_key_is_learned_from_the_answer_on_a_socket",
    ],
    "_check/observers": [
        "check/test_observers_and_log.py",
        "check/test_whichever_way_a_call_takes.py",
        "hooks/test_faults_of_ours_and_of_others.py",
    ],
    "_check/header_settings": [*_TEXTS, "hooks/test_websockets_of_the_sdk.py"],
    "_check/origin": [
        "check/test_where_did_the_value_come_from.py",
        "check/test_error_texts.py",
        "hooks/test_workload_identity.py",
        "hooks/test_process_scope.py",
        f"{_SOCKETS}::test_a_project_that_connect_takes_out_is_said_to_be_taken_out_there",
        f"{_SOCKETS}::test_a_client_whose_own_headers_take_its_project_out_is_told_so",
        f"{_SOCKETS}::test_a_wrong_socket_is_refused_before_any_connection",
        f"{_SOCKETS}::test_where_the_sdk_leaves_the_project_off_the_refusal_says_so",
        f"{_SOCKETS}::test_a_key_that_extra_headers_of_connect_bring_needs_its_project_there",
    ],
    "_check/explain": [
        "check/test_error_texts.py",
        "check/test_where_did_the_value_come_from.py",
        "check/test_keys_in_several_registries.py",
        "check/test_wrong_calls.py",
        _REACHED,
        "hooks/test_workload_identity.py",
        f"{_SOCKETS}::test_a_wrong_socket_is_refused_before_any_connection",
        f"{_SOCKETS}::test_where_the_sdk_leaves_the_project_off_the_refusal_says_so",
        "check/test_no_key_is_shown.py",
    ],
    "_check/corrections": [
        _REACHED,
        "check/test_error_texts.py",
        "check/test_keys_in_several_registries.py",
        "check/test_drift_and_learning.py",
        "hooks/test_workload_identity.py",
        "registry/redis/test_as_a_source.py::"
        "test_a_command_that_is_to_change_it_is_given_the_url_with_its_password",
    ],
    "_check/call_site": [
        _CALLED,
        _HANDED_OVER,
        "check/test_where_did_the_value_come_from.py",
    ],
    "_check/faults": [
        "hooks/test_faults_of_ours_and_of_others.py",
        "check/test_whichever_way_a_call_takes.py",
        "registry/test_file_reload.py",
    ],
    "_check/errors": ["check/test_errors_and_verdicts_are_values.py", *_TEXTS],
    "_check/log": [
        "check/test_observers_and_log.py",
        "check/test_drift_and_learning.py",
        "hooks/test_faults_of_ours_and_of_others.py",
        "check/test_where_did_the_value_come_from.py",
        *(f"{_CALLED}::{name}" for name in _LOGGED),
    ],
    "_check/waiting": [
        _HANDED_OVER,
        f"{_CALLED}::test_the_call_site_is_the_applications_line",
        f"{_OUTLIVES}::test_what_a_waiting_program_deletes_after_a_wrong_call_in_a_pool_is_freed",
    ],
    "_log": ["check/test_observers_and_log.py"],
    "_check/terminate": ["check/test_observers_and_log.py", _CALLED],
    "_hooks/": _HOOKS,
    "_hooks/sdk.py": [
        *_HOOKS,
        "hooks/test_no_key_leaks.py",
        "hooks/test_workload_identity.py",
        "hooks/test_import_order.py",
        "check/test_error_texts.py",
        "check/test_whichever_way_a_call_takes.py",
        "check/test_where_was_it_called.py",
    ],
    "_hooks/message": [
        "hooks/test_answers_to_other_libraries.py",
        "hooks/test_process_scope.py",
        "hooks/test_websockets_opened_directly.py",
        "hooks/test_websockets_of_the_sdk.py",
        "hooks/test_mocks_and_other_callables.py",
        "check/test_no_key_is_shown.py",
    ],
    "_hooks/websockets": [
        "hooks/test_websockets_of_the_sdk.py",
        "hooks/test_websockets_opened_directly.py",
        f"{_UNSUPPORTED}::test_a_websockets_that_opens_its_connections_in_another_place_is_refused",
    ],
    "_hooks/other_clients": [
        "hooks/test_process_scope.py",
        "hooks/test_answers_to_other_libraries.py",
    ],
    "_hooks/httpx": [
        *_HOOKS,
        "hooks/test_process_scope.py",
        "hooks/test_workload_identity.py",
        *_ANSWERS,
        _KEPT_ALIVE,
    ],
    "_hooks/call": [
        "hooks/test_process_scope.py",
        "hooks/test_answers_to_other_libraries.py",
        "hooks/test_websockets_opened_directly.py",
        "hooks/test_websockets_of_the_sdk.py",
        "hooks/test_workload_identity.py",
        *_HOOKS,
        "hooks/test_no_key_leaks.py",
    ],
    "_hooks/imports": ["hooks/test_imported_again.py", "hooks/test_unsupported_sdk.py"],
    "_hooks/__init__": [
        "hooks/test_unsupported_sdk.py",
        "hooks/test_import_order.py",
        "hooks/test_hooks_are_transparent.py",
        "hooks/test_process_scope.py",
        "hooks/test_websockets_opened_directly.py::"
        "test_a_socket_that_somebody_opens_directly_passes_or_is_refused",
        *(f"{_THREADS}::{name}" for name in _TOGETHER),
        "hooks/test_other_wrappers.py",
        "check/test_guard_scopes.py",
        "check/test_guard_in_tasks_and_threads.py",
        "cli/test_doctor.py::test_a_hook_that_another_tool_took_off_is_named",
        "hooks/test_imported_again.py",
    ],
    "_hooks/patch": [
        "hooks/test_other_wrappers.py",
        "hooks/test_mocks_and_other_callables.py",
        "hooks/test_hooks_are_transparent.py",
        "hooks/test_ways_around_the_transport_hook.py",
        "hooks/test_unsupported_sdk.py",
        "hooks/test_subclasses_and_copies.py",
        "hooks/test_process_scope.py",
        "hooks/test_import_order.py",
        f"{_AFTERWARDS}::test_a_class_made_anew_at_each_rerun_is_freed",
        "hooks/test_no_key_leaks.py::"
        "test_an_error_that_passes_through_our_frames_over_another_tools_wrapper",
        _KEPT_ALIVE,
    ],
    "_hooks/sdk_legacy": [  # with openai 2.30 or before: newer releases do not come by it
        "hooks/test_older_sdks.py",
        "hooks/test_retries_and_rotated_keys.py",
        "hooks/test_ways_around_the_transport_hook.py",
        "hooks/test_subclasses_and_copies.py",
        "hooks/test_http_clients.py",
        "hooks/test_event_hooks_auth_and_redirects.py",
        "hooks/test_hooks_are_transparent.py",
        "hooks/test_other_wrappers.py",
        "hooks/test_no_key_leaks.py",
        f"{_AFTERWARDS}::test_the_frames_of_an_error_hold_nothing_of_the_call",
    ],
    "_hooks/threads": [
        "check/test_guard_in_tasks_and_threads.py",
        *(f"{_THREADS}::{name}" for name in (*_TOGETHER, *_STARTING)),
        "hooks/test_ways_around_the_transport_hook.py",
        "hooks/test_other_wrappers.py",
        "check/test_no_key_is_shown.py",
    ],
    "_hooks/sdk_facts": [
        "hooks/test_workload_identity.py",
        "check/test_where_did_the_value_come_from.py",
        "check/test_error_texts.py",
        "hooks/test_websockets_of_the_sdk.py",
        "hooks/test_websockets_opened_directly.py",
        "hooks/test_process_scope.py::test_the_error_does_not_speak_of_a_client_that_is_not_there",
        *_HOOKS,
    ],
    "_hooks/client_site": [_CALLED, "check/test_where_did_the_value_come_from.py"],
    "_hooks/unsendable": ["check/test_wrong_calls.py", "check/test_error_texts.py", *_HOOKS],
    "_keys": [
        "registry/test_key_text.py",
        "properties/test_no_part_of_a_key_is_shown.py",
        "check/test_no_key_is_shown.py",
        "registry/test_all_mistakes.py",
    ],
    "_types": [
        *_VERDICTS,
        "settings/test_environment_and_arguments.py",
        "settings/test_wrong_arguments.py",
        "settings/test_does_a_registry_that_cannot_be_read_stop_the_start.py",
        "check/test_guard_scopes.py",
        *_LOG,
    ],
    "_env": ["settings", "cli/test_doctor.py"],
    "_hosts": [
        "settings/test_which_hosts_are_understood.py",
        "hooks/test_which_hosts_are_checked.py",
    ],
    "_scope": [*_SCOPES, "hooks/test_threads_imports_and_signals.py"],
    "_guard": [*_SCOPES, "hooks/test_threads_imports_and_signals.py"],
    "_block": _SCOPES,
    "_registry/": ["registry"],
    "_registry/registry": ["registry", "settings/test_register.py"],
    "_registry/transfer": ["cli/test_copy.py", "registry"],
    "_registry/retrying": [
        "registry/redis/test_out_of_reach_at_the_start.py",
        "settings/test_does_a_registry_that_cannot_be_read_stop_the_start.py",
    ],
    "_registry/file/watch": ["registry", f"{_CALLED}::test_a_reload_is_one_record"],
    "_registry/model": [
        *_VERDICTS,
        "check/test_keys_in_several_registries.py",
        "check/test_guard_scopes.py",
        "settings/test_register.py",
        "settings/test_wrong_arguments.py",
        "registry/test_file_format.py",
        "registry/test_file_edit.py",
        "hooks/test_workload_identity.py",
        "registry/test_stores_of_others.py",
        "cli/test_copy.py",
        "cli/test_remove.py",
        "check/test_error_texts.py",
        "registry/redis/test_learning.py",
    ],
    "_registry/validate": [
        "registry/test_all_mistakes.py",
        "registry/test_register_from_threads.py",
        "registry/test_file_format.py",
        "settings/test_register.py",
        "settings/test_wrong_arguments.py",
        "properties/test_registries_merged_and_edited.py",
        "registry/redis/test_hostile_content.py",
    ],
    "_registry/redis/": ["registry/redis"],
    "_audit/": ["audit"],
    "__main__": ["cli/test_how_it_is_called.py"],
    "_cli/": ["cli", "registry/redis/test_commands.py"],
    "_cli/commands/report": ["audit/test_report_command.py", "cli"],
    "_startup/": [
        "settings/test_environment_and_arguments.py",
        "ecosystem/test_zero_code.py",
        "cli/test_run.py",
    ],
    "loopback/": ["loopback"],
    "otel": ["ecosystem/test_opentelemetry_prometheus_structlog.py"],
    "prometheus": ["ecosystem/test_opentelemetry_prometheus_structlog.py"],
    "structured_log": ["ecosystem/test_opentelemetry_prometheus_structlog.py"],
    "pytest_plugin": ["ecosystem/test_pytest_plugin.py"],
}


def tests_for(module: str) -> list[str]:
    """The tests that matter for a module, named by its path inside the package."""
    row = max((start for start in TESTS if module.startswith(start)), key=len)
    return list(dict.fromkeys(TESTS[row]))


def is_whole(module: str) -> bool:
    """Whether every mutant of the module is run."""
    return module.startswith(WHOLE)
