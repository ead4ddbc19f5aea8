"""Every metric there is, declared once (docs/monitoring.md says what to do about them).

Names and units by the conventions of Prometheus: base units, the unit in the name, `_total` for counters. What is of
the whole host and stands in the record (runs, CRLs, what is owed, the audit log), the operator process serves alone.
"""

from __future__ import annotations

from engine.metrics.families import Family, Kind

DURATIONS = (
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip
"""Seconds, from an answer out of memory to a call that is stuck. 5 ms is the objective of refusals, 50 ms that of live
answers; the others are a guess: three in a decade."""

LONG_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds, for work on many rows. A guess."""

LISTENER, WEB, LIVE_SIGNER, PRE_SIGNER = ("listener",), ("web",), ("live-signer",), ("pre-signer",)
CRL_PUBLISHER, FOLLOWER, TOKEN_WATCH = ("crl-publisher",), ("follower",), ("token-watch",)
FEED_PUBLISHER, FEED_PULL, WORKER, RUN = ("feed-publisher",), ("feed-pull",), ("worker",), ("run",)
OPERATOR, FEED_FRONT = ("operator",), ("feed-front",)
ANSWERING = LISTENER + WEB
SIGNING = LIVE_SIGNER + PRE_SIGNER + CRL_PUBLISHER + FEED_PUBLISHER + WORKER
POOLING = SIGNING + TOKEN_WATCH
"""Processes with a pool of sessions."""
EVERY = ANSWERING + SIGNING + FOLLOWER + TOKEN_WATCH + FEED_FRONT + FEED_PULL + RUN + OPERATOR

FAMILIES: dict[str, Family] = {}
"""By name."""


def _declare(
    kind: Kind,
    name: str,
    processes: tuple[str, ...],
    meaning: str,
    *labels: str,
    bounds: tuple[float, ...] = (),
) -> Family:
    family = Family(name, kind, meaning, processes, labels, bounds)
    FAMILIES[name] = family
    return family


def _counter(name: str, processes: tuple[str, ...], meaning: str, *labels: str) -> Family:
    return _declare(Kind.COUNTER, name, processes, meaning, *labels)


def _gauge(name: str, processes: tuple[str, ...], meaning: str, *labels: str) -> Family:
    return _declare(Kind.GAUGE, name, processes, meaning, *labels)


def _durations(name: str, processes: tuple[str, ...], meaning: str, *labels: str) -> Family:
    return _declare(Kind.HISTOGRAM, name, processes, meaning, *labels, bounds=DURATIONS)


def _long_durations(name: str, processes: tuple[str, ...], meaning: str, *labels: str) -> Family:
    return _declare(Kind.HISTOGRAM, name, processes, meaning, *labels, bounds=LONG_DURATIONS)


# ---- every process ----

PROCESS_CPU_SECONDS = _counter(
    "sealmint_process_cpu_seconds_total", EVERY, "Processor time spent, user and system."
)
PROCESS_RESIDENT_MEMORY = _gauge("sealmint_process_resident_memory_bytes", EVERY, "Memory that is resident.")
PROCESS_START_TIME = _gauge(
    "sealmint_process_start_time_seconds", EVERY, "When the process began, since the epoch."
)
PROCESS_OPEN_FILES = _gauge("sealmint_process_open_files", EVERY, "Open file descriptors.")
LOG_RECORDS = _counter(
    "sealmint_log_records_total",
    ANSWERING + SIGNING + FOLLOWER + TOKEN_WATCH + FEED_FRONT + FEED_PULL,
    "Lines in the process's log.",
    "level",
)

# ---- answering relying parties ----

OCSP_REQUEST_DURATION = _durations(
    "sealmint_ocsp_request_duration_seconds",
    ANSWERING,
    "From a complete request to its answer, inside the server, queues of the process included; the count is that of"
    " the requests. outcome: an OCSPResponseStatus, not-modified (HTTP 304), or the HTTP status of a refusal.",
    "method",
    "outcome",
)
HTTP_CONNECTIONS = _gauge("sealmint_http_connections", LISTENER, "Connections that are open.")
HTTP_CONNECTIONS_ACCEPTED = _counter(
    "sealmint_http_connections_accepted_total", LISTENER, "Connections accepted, those refused included."
)
HTTP_CONNECTION_REFUSAL_DURATION = _durations(
    "sealmint_http_connection_refusal_duration_seconds",
    LISTENER,
    "From accepting a connection to having refused it with 503, for too many are open; the count is that of the"
    " refusals.",
)
HTTP_CONNECTIONS_EXPIRED = _counter(
    "sealmint_http_connections_expired_total",
    LISTENER,
    "Connections ended because a phase of theirs lasted too long.",
    "phase",
)
WEB_REQUEST_DURATION = _durations(
    "sealmint_web_request_duration_seconds",
    WEB + FEED_FRONT,
    "From a request's header to the header of its answer.",
    "page",
    "status",
)
STATUS_STORE_AGE = _gauge(
    "sealmint_status_store_age_seconds",
    ANSWERING,
    "Since the follower last said that the status store is current; above [ocsp].stale_seconds all answers are"
    " tryLater.",
)
LIVE_CONNECTED = _gauge(
    "sealmint_live_connected", ANSWERING, "Whether there is a connection to the live signer."
)
LIVE_PENDING = _gauge("sealmint_live_pending", ANSWERING, "Requests that wait for the live signer.")
LIVE_CLIENT_TRY_LATER = _counter(
    "sealmint_live_client_try_later_total",
    ANSWERING,
    "Requests answered tryLater without a word of the live signer's. reason: away, full or timeout.",
    "reason",
)

# ---- the live signer ----

LIVE_ANSWER_DURATION = _durations(
    "sealmint_live_answer_duration_seconds",
    LIVE_SIGNER,
    "From the receipt of a question to its answer; the count is that of the answers.",
    "outcome",
)
LIVE_TRY_LATER = _counter(
    "sealmint_live_try_later_total",
    LIVE_SIGNER,
    "Answers that were tryLater. reason: full, journal, status, late, token, overtaken.",
    "reason",
)
LIVE_REFUSAL_DURATION = _durations(
    "sealmint_live_refusal_duration_seconds",
    LIVE_SIGNER,
    "From the receipt of a question to tryLater, because as many wait already as may.",
)
LIVE_WAITING = _gauge("sealmint_live_waiting", LIVE_SIGNER, "Answers on their way through the token.")
LIVE_WAITING_LIMIT = _gauge("sealmint_live_waiting_limit", LIVE_SIGNER, "How many may be.")

# ---- signing ahead, CRLs, the status store ----

PRE_SIGNED = _counter(
    "sealmint_pre_signed_answers_total", PRE_SIGNER, "Answers signed ahead and stored.", "lane"
)
PRE_SIGNING_OWED = _gauge(
    "sealmint_pre_signing_owed_cards",
    OPERATOR,
    "Cards whose status changed since their answer was signed: they get live answers, or tryLater.",
)
PRE_SIGNING_DUE = _gauge(
    "sealmint_pre_signing_due_cards", OPERATOR, "Cards whose answer is past the time of its renewal."
)
CRL_GENERATION_DURATION = _long_durations(
    "sealmint_crl_generation_duration_seconds",
    CRL_PUBLISHER,
    "Making and publishing a CRL that is due; the count is that of those published.",
)
CRL_FAILURES = _counter("sealmint_crl_failures_total", CRL_PUBLISHER, "CRLs that could not be made.")
CRL_NUMBER = _gauge("sealmint_crl_number", OPERATOR, "CRLNumber of the newest complete list.", "scope")
CRL_ENTRIES = _gauge("sealmint_crl_entries", OPERATOR, "Certificates on it.", "scope")
CRL_THIS_UPDATE = _gauge(
    "sealmint_crl_this_update_seconds", OPERATOR, "Its thisUpdate, since the epoch.", "scope"
)
CRL_NEXT_UPDATE = _gauge(
    "sealmint_crl_next_update_seconds", OPERATOR, "Its nextUpdate, since the epoch.", "scope"
)
FOLLOWER_POSITION = _gauge(
    "sealmint_follower_position", FOLLOWER, "The last change of the record that is in the status store."
)
FOLLOWER_LAG = _gauge(
    "sealmint_follower_lag_changes", OPERATOR, "Changes in the record that are not in the status store yet."
)
FOLLOWER_STEP_DURATION = _long_durations(
    "sealmint_follower_step_duration_seconds", FOLLOWER, "Taking the next changes into the status store."
)
FOLLOWER_FAILURES = _counter("sealmint_follower_failures_total", FOLLOWER, "Such steps that failed.")
STATUS_STORE_MAP = _gauge(
    "sealmint_status_store_map_bytes", FOLLOWER, "The most the status store may grow to."
)
STATUS_STORE_USED = _gauge("sealmint_status_store_used_bytes", FOLLOWER, "What of it ever was in use.")

# ---- the feed ----

FEED_ANSWER_DURATION = _long_durations(
    "sealmint_feed_answer_duration_seconds",
    FEED_PUBLISHER,
    "From a question to the feed to its answer, waiting for something new included.",
    "outcome",
)
FEED_LANE_SUCCESS = _gauge(
    "sealmint_feed_lane_last_success_seconds",
    FEED_PULL,
    "When a copy was last where the record stands, since the epoch.",
    "lane",
)
FEED_LANE_FAILURES = _counter(
    "sealmint_feed_lane_failures_total",
    FEED_PULL,
    "Attempts to bring a copy there that failed.",
    "lane",
    "error",
)

# ---- pools of sessions ----

POOL_SESSIONS = _gauge(
    "sealmint_pool_sessions",
    POOLING,
    "Sessions. state: idle, busy, quarantined, stuck or closing.",
    "state",
)
POOL_SESSIONS_WANTED = _gauge("sealmint_pool_sessions_wanted", POOLING, "Sessions there should be.")
POOL_LANE_WAITING = _gauge(
    "sealmint_pool_waiting_messages", POOLING, "Messages that wait for a session.", "lane"
)
POOL_LANE_IN_FLIGHT = _gauge(
    "sealmint_pool_in_flight_calls", POOLING, "Sessions that have messages of the lane in hand.", "lane"
)
POOL_LANE_DONE = _counter(
    "sealmint_pool_done_messages_total", POOLING, "Messages that came back from a session.", "lane"
)
POOL_LANE_REFUSED = _counter(
    "sealmint_pool_refused_messages_total", POOLING, "Messages refused because the lane was full.", "lane"
)
POOL_WAIT_DURATION = _durations(
    "sealmint_pool_wait_duration_seconds",
    POOLING,
    "How long chunks of messages waited for a session.",
    "lane",
)
POOL_SIGN_DURATION = _durations(
    "sealmint_pool_sign_duration_seconds", POOLING, "How long a call of C_Sign took.", "lane"
)
POOL_ERRORS = _counter(
    "sealmint_pool_errors_total", POOLING, "Return values of the token other than CKR_OK.", "ckr"
)
POOL_REPLACEMENTS = _counter(
    "sealmint_pool_replacements_total", POOLING, "Sessions opened in the place of another one."
)
POOL_STUCK = _counter(
    "sealmint_pool_stuck_sessions_total", POOLING, "Sessions that ever were stuck in a call."
)

# ---- how the processes share the token: the same table, as each of them sees it ----

LANES_PARALLEL = _gauge(
    "sealmint_lanes_parallel_calls",
    POOLING,
    "Calls all processes together may have in flight; absent: no limit.",
)
LANES_BULK_CEILING = _gauge(
    "sealmint_lanes_bulk_ceiling_calls",
    POOLING,
    "How many of them may be pre-signing and issuance; lowered while live answers are slow; absent: all.",
)
LANES_LIVE_P99 = _gauge(
    "sealmint_lanes_live_p99_seconds",
    POOLING,
    "What 99 of 100 live answers of the recent seconds took to be signed, waiting included; absent without any.",
)

# ---- runs ----

RUN_ITEMS = _gauge(
    "sealmint_run_items", OPERATOR, "Certificates of a run that is not closed. state: issued, failed, pending.", "run",
    "state",
)  # fmt: skip
RUN_RATE = _gauge(
    "sealmint_run_items_per_second", OPERATOR, "Certificates issued a second since the last scrapes.", "run"
)
RUN_REMAINING = _gauge(
    "sealmint_run_remaining_seconds",
    OPERATOR,
    "Until a run ends at that rate; absent while it stands still.",
    "run",
)
RUNS = _gauge("sealmint_runs", OPERATOR, "Runs.", "state")
WORKER_ITEMS = _counter(
    "sealmint_worker_items_total",
    WORKER,
    "Certificates of units committed. outcome: issued or failed.",
    "outcome",
)
WORKER_UNITS = _counter("sealmint_worker_units_total", WORKER, "Units committed.")
RUN_WORKERS_REPLACED = _counter(
    "sealmint_run_workers_replaced_total", RUN, "Workers of the run that ended before their time."
)

# ---- the token, the audit log, the host ----

TOKEN_TEST_DURATION = _durations(
    "sealmint_token_test_duration_seconds",
    TOKEN_WATCH,
    "Looks at a key, with a test signature where it may make one. outcome: good or failed.",
    "key",
    "outcome",
)
TOKEN_TEST_SUCCESS = _gauge(
    "sealmint_token_test_last_success_seconds",
    TOKEN_WATCH,
    "When a key was last found well, since the epoch.",
    "key",
)
AUDIT_RECORDS = _gauge("sealmint_audit_records", OPERATOR, "Records of the audit log.")
AUDIT_LAST_RECORD = _gauge(
    "sealmint_audit_last_record_seconds", OPERATOR, "When the newest was written, since the epoch."
)
AUDIT_UNSIGNED_RECORDS = _gauge(
    "sealmint_audit_records_after_checkpoint", OPERATOR, "Records that no signed checkpoint covers yet."
)
AUDIT_LAST_CHECKPOINT = _gauge(
    "sealmint_audit_last_checkpoint_seconds",
    OPERATOR,
    "When the newest checkpoint was signed, since the epoch; 0 = never.",
)
RECORD_READABLE = _gauge(
    "sealmint_record_readable", OPERATOR, "Whether the record could be read for this page."
)
PROCESSES = _gauge("sealmint_processes", OPERATOR, "Processes that answered for this page.")
COLLECTION_DURATION = _durations(
    "sealmint_collection_duration_seconds", OPERATOR, "Asking all processes and the record, the last time."
)
