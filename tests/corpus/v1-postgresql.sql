CREATE TABLE recovery_checkpoint (
	stream TEXT COLLATE "C" NOT NULL, 
	size BIGINT NOT NULL, 
	root BYTEA NOT NULL, 
	note TEXT COLLATE "C" NOT NULL, 
	PRIMARY KEY (stream, size)
);
CREATE TABLE recovery_line (
	recovery TEXT COLLATE "C" NOT NULL, 
	line TEXT COLLATE "C" NOT NULL, 
	PRIMARY KEY (recovery, line)
);
CREATE TABLE recovery_log (
	stream TEXT COLLATE "C" NOT NULL, 
	seq BIGINT NOT NULL, 
	request_id TEXT COLLATE "C" NOT NULL, 
	kind TEXT COLLATE "C" NOT NULL, 
	at_us BIGINT NOT NULL, 
	continues TEXT COLLATE "C", 
	body BYTEA NOT NULL, 
	leaf BYTEA NOT NULL, 
	root BYTEA NOT NULL, 
	PRIMARY KEY (stream, seq), 
	UNIQUE (request_id)
);
CREATE TABLE recovery_personal (
	recovery TEXT COLLATE "C" NOT NULL, 
	field TEXT COLLATE "C" NOT NULL, 
	salt BYTEA NOT NULL, 
	value TEXT COLLATE "C" NOT NULL, 
	PRIMARY KEY (recovery, field)
);
CREATE TABLE recovery_policy (
	digest TEXT COLLATE "C" NOT NULL, 
	source TEXT COLLATE "C" NOT NULL, 
	name TEXT COLLATE "C" NOT NULL, 
	label TEXT COLLATE "C" NOT NULL, 
	first_day TEXT COLLATE "C" NOT NULL, 
	last_day TEXT COLLATE "C", 
	replaces TEXT COLLATE "C", 
	seq BIGINT NOT NULL, 
	at_us BIGINT NOT NULL, 
	canonical TEXT COLLATE "C" NOT NULL, 
	yaml TEXT COLLATE "C" NOT NULL, 
	PRIMARY KEY (digest, source)
);
CREATE TABLE recovery_schema (
	version BIGINT NOT NULL, 
	engine TEXT COLLATE "C" NOT NULL, 
	PRIMARY KEY (version)
);
CREATE TABLE recovery_state (
	recovery TEXT COLLATE "C" NOT NULL, 
	stream TEXT COLLATE "C" NOT NULL, 
	seq BIGINT NOT NULL, 
	at_us BIGINT NOT NULL, 
	bday TEXT COLLATE "C" NOT NULL, 
	utc_offset_s BIGINT NOT NULL, 
	employee TEXT COLLATE "C" NOT NULL, 
	role TEXT COLLATE "C" NOT NULL, 
	site TEXT COLLATE "C" NOT NULL, 
	case_id TEXT COLLATE "C" NOT NULL, 
	receipt TEXT COLLATE "C", 
	customer TEXT COLLATE "C", 
	remedy TEXT COLLATE "C" NOT NULL, 
	category TEXT COLLATE "C", 
	severity TEXT COLLATE "C", 
	reason TEXT COLLATE "C", 
	basis TEXT COLLATE "C" NOT NULL, 
	currency TEXT COLLATE "C" NOT NULL, 
	asked_minor BIGINT NOT NULL, 
	bill_minor BIGINT, 
	occurred_on TEXT COLLATE "C", 
	outcome TEXT COLLATE "C" NOT NULL, 
	status TEXT COLLATE "C" NOT NULL, 
	to_role TEXT COLLATE "C", 
	second_role TEXT COLLATE "C", 
	due_us BIGINT, 
	policy TEXT COLLATE "C" NOT NULL, 
	matcher TEXT COLLATE "C" NOT NULL, 
	approver TEXT COLLATE "C", 
	approver_role TEXT COLLATE "C", 
	granted_us BIGINT, 
	granted_bday TEXT COLLATE "C", 
	granted_remedy TEXT COLLATE "C", 
	granted_minor BIGINT, 
	fulfilled_us BIGINT, 
	reference TEXT COLLATE "C", 
	closed_us BIGINT, 
	closed_by TEXT COLLATE "C", 
	closed_reason TEXT COLLATE "C", 
	PRIMARY KEY (recovery)
);
CREATE INDEX recovery_state_case ON recovery_state (case_id);
CREATE INDEX recovery_state_day ON recovery_state (bday, at_us, recovery);
CREATE INDEX recovery_state_receipt ON recovery_state (receipt);
CREATE TABLE recovery_stream (
	stream TEXT COLLATE "C" NOT NULL, 
	size BIGINT NOT NULL, 
	frontier BYTEA NOT NULL, 
	last_leaf BYTEA NOT NULL, 
	last_at_us BIGINT NOT NULL, 
	PRIMARY KEY (stream)
);
CREATE TABLE recovery_subject (
	token TEXT COLLATE "C" NOT NULL, 
	reference TEXT COLLATE "C" NOT NULL, 
	PRIMARY KEY (token), 
	UNIQUE (reference)
);
CREATE TABLE recovery_subject_lock (
	subject TEXT COLLATE "C" NOT NULL, 
	ver BIGINT NOT NULL, 
	PRIMARY KEY (subject)
);
CREATE TABLE recovery_usage (
	subject TEXT COLLATE "C" NOT NULL, 
	bday TEXT COLLATE "C" NOT NULL, 
	remedy TEXT COLLATE "C" NOT NULL, 
	basis TEXT COLLATE "C" NOT NULL, 
	currency TEXT COLLATE "C" NOT NULL, 
	amount_minor BIGINT NOT NULL, 
	times BIGINT NOT NULL, 
	PRIMARY KEY (subject, bday, remedy, basis, currency)
);
CREATE INDEX recovery_log_continues ON recovery_log (continues) WHERE continues IS NOT NULL;
CREATE FUNCTION recovery_never_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is never changed', TG_TABLE_NAME; END $$;
CREATE FUNCTION recovery_log_append() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
$$ BEGIN
  IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq) + 1, 0) FROM recovery_log WHERE stream = NEW.stream) THEN
    RAISE EXCEPTION 'recovery_log: seq is not the next of its stream';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER recovery_log_append BEFORE INSERT ON recovery_log FOR EACH ROW EXECUTE FUNCTION recovery_log_append();
ALTER TABLE recovery_log ENABLE ALWAYS TRIGGER recovery_log_append;
CREATE TRIGGER recovery_log_no_change BEFORE UPDATE OR DELETE ON recovery_log FOR EACH ROW EXECUTE FUNCTION recovery_never_changed();
ALTER TABLE recovery_log ENABLE ALWAYS TRIGGER recovery_log_no_change;
CREATE TRIGGER recovery_log_no_truncate BEFORE TRUNCATE ON recovery_log FOR EACH STATEMENT EXECUTE FUNCTION recovery_never_changed();
ALTER TABLE recovery_log ENABLE ALWAYS TRIGGER recovery_log_no_truncate;
CREATE TRIGGER recovery_policy_no_change BEFORE UPDATE OR DELETE ON recovery_policy FOR EACH ROW EXECUTE FUNCTION recovery_never_changed();
ALTER TABLE recovery_policy ENABLE ALWAYS TRIGGER recovery_policy_no_change;
CREATE TRIGGER recovery_policy_no_truncate BEFORE TRUNCATE ON recovery_policy FOR EACH STATEMENT EXECUTE FUNCTION recovery_never_changed();
ALTER TABLE recovery_policy ENABLE ALWAYS TRIGGER recovery_policy_no_truncate;
CREATE TRIGGER recovery_checkpoint_no_change BEFORE UPDATE OR DELETE ON recovery_checkpoint FOR EACH ROW EXECUTE FUNCTION recovery_never_changed();
ALTER TABLE recovery_checkpoint ENABLE ALWAYS TRIGGER recovery_checkpoint_no_change;
CREATE TRIGGER recovery_checkpoint_no_truncate BEFORE TRUNCATE ON recovery_checkpoint FOR EACH STATEMENT EXECUTE FUNCTION recovery_never_changed();
ALTER TABLE recovery_checkpoint ENABLE ALWAYS TRIGGER recovery_checkpoint_no_truncate;
CREATE VIEW recovery_audit AS SELECT
  s.recovery AS recovery,
  s.case_id AS case_id,
  s.site AS site,
  s.bday AS business_day,
  to_char(timestamp '1970-01-01' + s.at_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS asked_at,
  to_char(timestamp '1970-01-01' + (s.at_us + s.utc_offset_s * 1000000) * interval '1 microsecond', 'YYYY-MM-DD HH24:MI:SS') AS asked_local_time,
  s.employee AS employee,
  s.role AS employee_role,
  s.customer AS customer,
  s.receipt AS receipt,
  s.remedy AS remedy_asked,
  s.category AS category,
  s.severity AS severity,
  s.reason AS reason,
  s.basis AS basis,
  s.occurred_on AS occurred_on,
  s.currency AS currency,
  CASE WHEN s.asked_minor IS NULL THEN NULL
    WHEN s.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN CAST(round(CAST(s.asked_minor AS numeric) / 1, 0) AS text)
    WHEN s.currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN CAST(round(CAST(s.asked_minor AS numeric) / 1000, 3) AS text)
    WHEN s.currency IN ('CLF', 'UYW') THEN CAST(round(CAST(s.asked_minor AS numeric) / 10000, 4) AS text)
    ELSE CAST(round(CAST(s.asked_minor AS numeric) / 100, 2) AS text) END AS amount_asked,
  CASE WHEN s.bill_minor IS NULL THEN NULL
    WHEN s.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN CAST(round(CAST(s.bill_minor AS numeric) / 1, 0) AS text)
    WHEN s.currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN CAST(round(CAST(s.bill_minor AS numeric) / 1000, 3) AS text)
    WHEN s.currency IN ('CLF', 'UYW') THEN CAST(round(CAST(s.bill_minor AS numeric) / 10000, 4) AS text)
    ELSE CAST(round(CAST(s.bill_minor AS numeric) / 100, 2) AS text) END AS bill,
  CASE s.outcome WHEN 'approve' THEN 'approved on the spot' WHEN 'escalate' THEN 'sent to a higher role'
    WHEN 'deny' THEN 'denied' ELSE s.outcome END AS decision,
  (SELECT string_agg(l.line, ' ' ORDER BY l.line) FROM recovery_line AS l WHERE l.recovery = s.recovery) AS deciding_lines,
  s.status AS status,
  s.to_role AS sent_to_role,
  s.second_role AS second_role,
  to_char(timestamp '1970-01-01' + s.due_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS due_at,
  s.approver AS approved_by,
  s.approver_role AS approver_role,
  to_char(timestamp '1970-01-01' + s.granted_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS granted_at,
  s.granted_bday AS granted_on,
  s.granted_remedy AS remedy_granted,
  CASE WHEN s.granted_minor IS NULL THEN NULL
    WHEN s.currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN CAST(round(CAST(s.granted_minor AS numeric) / 1, 0) AS text)
    WHEN s.currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN CAST(round(CAST(s.granted_minor AS numeric) / 1000, 3) AS text)
    WHEN s.currency IN ('CLF', 'UYW') THEN CAST(round(CAST(s.granted_minor AS numeric) / 10000, 4) AS text)
    ELSE CAST(round(CAST(s.granted_minor AS numeric) / 100, 2) AS text) END AS amount_granted,
  to_char(timestamp '1970-01-01' + s.fulfilled_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS fulfilled_at,
  s.reference AS payment_reference,
  to_char(timestamp '1970-01-01' + s.closed_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS closed_at,
  s.closed_by AS closed_by,
  s.closed_reason AS closed_reason,
  (SELECT min(p.name) FROM recovery_policy AS p WHERE p.digest = s.policy) AS policy_name,
  (SELECT min(p.label) FROM recovery_policy AS p WHERE p.digest = s.policy) AS policy_version,
  s.policy AS policy_digest,
  s.matcher AS matcher,
  s.stream AS log_stream,
  s.seq AS log_seq
FROM recovery_state AS s;
CREATE VIEW recovery_entry AS SELECT
  s.stream AS stream,
  s.seq AS seq,
  to_char(timestamp '1970-01-01' + s.at_us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at,
  s.kind AS kind,
  s.request_id AS id,
  CAST(convert_from(s.body, 'UTF8') AS json) ->> 'by' AS done_by,
  CAST(convert_from(s.body, 'UTF8') AS json) ->> 'recovery' AS recovery,
  encode(s.leaf, 'hex') AS leaf,
  convert_from(s.body, 'UTF8') AS body
FROM recovery_log AS s;
