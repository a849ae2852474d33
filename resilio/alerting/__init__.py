"""Who is told about an error: the notifier and its channels, alert rules and their incidents, health checks.

Deciding *that* something is worth telling, getting it to a person without a storm, and what may be done about it
without a person, is this room's whole business. What an error is, and how many there were, the room `reporting` says.

What a page about it can ask and do; the names are those of Prometheus and Alertmanager. All of it is redacted, bounded,
plain and quick unless it says ``await``, and safe from any thread; every value has ``to_dict()`` for JSON.

`Alerts` (``alerts = Alerts(notifier, rules, path="alerts.json")``: with a path it outlives the process)

- ``alerts.rules``, ``alerts.notifier``: what it was made of; a rule has ``name, severity, for_, repeat, ...``.
- ``alerts.incidents() -> list[Incident]``: what is pending or fires, and what is over but not told yet. An `Incident`
  has ``id, rule, severity, labels, state (pending, firing, resolved), summary, details, since, updated_at, fired_at,
  ended_at, told, silenced_by, inhibited_by, muted``.
- ``alerts.history(rule=None) -> list[Incident]``: what fired and is over, latest first; the last 1 000.
- ``alerts.silences(expired=False) -> list[Silence]``: a `Silence` has ``id, rule, labels, starts_at, ends_at,
  created_by, comment, expired_by, is_active``.
- ``alerts.silence(rule, seconds=3600, labels={...}, created_by="tzara", comment="being moved") -> Silence``.
- ``alerts.unsilence(silence_or_id, by="arp") -> Silence | None``: ends it before its time.
- ``alerts.audit() -> list[RecoveryRecord]``: what the rules' actions did.
- ``await alerts.check()``: looks now.
- ``resilio.subscribe(listener, IncidentChanged)``: hears of each that is new, fires or is over; ``event.incident``.

`AdminNotifier`

- ``notifier.channels``: their names; ``notifier.stats().channels[name]``: what each delivered, failed, held, dropped.
- ``await notifier.test_channel(name, by="arp") -> ChannelOutcome``: a test message to one of them.

`HealthChecks`

- ``checks.results() -> list[HealthResult]``: ``component, is_healthy, details, since, checked_at, duration`` of each.
- ``await checks.check()``: looks now.
"""
