"""Every bound of the system, each with its reason. Bytes, seconds and counts; the unit stands in the name."""

# The document (REFERENCE S19): what a 10,000-server system needs, times three.
DOCUMENT_BYTES = 32 * 1024 * 1024
DOCUMENT_WARN_BYTES = 8 * 1024 * 1024
SITES = 1_000
SERVERS = 10_000
ROLES = 100_000
NESTING = 32
STRING_BYTES = 64 * 1024
NAME_CHARACTERS = 63  # a DNS label, so that names can become host names
NODE_NAME_CHARACTERS = 120  # a file name is 255 bytes; room for suffixes
FINDINGS = 200  # nobody reads more, and an answer stays bounded
OVERRIDE_DAYS = 30

# Frames of a hop.
FRAME_BYTES_UNAUTHENTICATED = 4 * 1024  # hello with its admission is about 700 bytes
FRAME_BYTES = 1024 * 1024  # a chunk, its envelope and room
CHUNK_BYTES = 256 * 1024  # heartbeats are never stuck behind more than this
INLINE_BYTES = 64 * 1024  # a body this small travels inside the offer
ASK_PART_BYTES = 256 * 1024
ASK_BYTES = DOCUMENT_BYTES + ASK_PART_BYTES  # the largest request is an upload
ASKS_UNDER_WAY = 64  # per link and direction
FRAMES_PER_S = (
    1_000  # of a link that speaks for no people; an IC of 1,000 restless servers sends 20 roll-ups a second
)
FRAMES_AT_ONCE = (
    2_000  # before that counts: a table of acks, a document in pieces and the signs of life beside it
)
WRITE_BUFFER_BYTES = 4 * 1024 * 1024  # a child that lets this pile up is dropped; it costs only itself
SENDS_UNDER_WAY = 64
LINKS = 4096  # per listener; above the 1,000 children of a herd
UNKNOWN = 1024  # connections of a listener not known yet: a herd in handshake, some 60 MB of TLS
LISTEN_BACKLOG = 1024  # 100 made 500 connects take 3-5 s
ACK_ROLES = 32  # roles in trouble named in one ack
DETAIL_CHARACTERS = 400
BOOTS = 2**40  # of one server; a node's own counter is a million times larger and still fits 64 bits
BOOTS_AT_ONCE = 2**20  # a parent may make a child's counter jump by so much, lest one false word uses it up
OBJECTS_UPWARD = (
    4  # trust, record and target of a child that is ahead, and room for one; each costs a verification
)

# Timers of a hop.
HEARTBEAT_S = 2.0
SILENT_S = 5.0
HELLO_S = 5.0  # a peer that has not said hello by then holds a slot for nothing
DIAL_TIMEOUT_S = 3.0
CONNECT_PATIENCE_S = 5.0  # of a command: WS restarts in one second, in several under load
CONNECT_AGAIN_S = 0.15  # a refusal costs little; a person waits at most so long in vain
BACKOFF_MIN_S = 0.2
BACKOFF_CLAMP_MIN_S = 2.0
BACKOFF_CLAMP_MAX_S = 30.0
ROLLUP_FLUSH_S = 0.05
FRESH_S = 10.0
STALE_S = 60.0
READY_TIMEOUT_S = 60.0
DRAIN_S = 30.0
PREFERRED_PARENT_RETRY_S = 2.0  # how often a child away from its first parent tries to return

# Supervision.
CRASHES_UNTIL_LAST_GOOD = 3
CRASH_WINDOW_S = 60.0
RESTART_BACKOFF_MIN_S = 0.2
RESTART_BACKOFF_MAX_S = 30.0
STOP_TIMEOUT_S = 10.0
NODE_STOP_TIMEOUT_S = 45.0  # longer than a drain plus a role's stop
LOG_ROTATE_BYTES = 10 * 1024 * 1024

# MIC and its store.
REVISIONS_KEPT = 100
BODIES_KEPT_BY_MIRROR = 4  # active, prepared, the one before, and one last good: bases of deltas
SEEN_COMMIT_S = 1.0
LEASE_TTL_S = 5.0
STORE_VALUE_BYTES = 1024 * 1024
STORE_TXN_BYTES = 48 * 1024 * 1024  # one apply carries a whole document
STORE_TXN_OPERATIONS = 4096
STORE_KEY_BYTES = 1024
STORE_SESSIONS = 256  # of request ids; the one used longest ago makes room
STORE_REQUESTS = 64  # outcomes remembered per session: as many as it may have under way
STORE_HISTORY_REVISIONS = 4096  # changes a watch may go back; each keeps about 2 KiB of the tree
STORE_HISTORY_BYTES = 64 * 1024 * 1024
STORE_WATCH_EVENTS = 8192  # waiting for one slow watcher, above the largest transaction; then it is reset
STORE_WATCH_BYTES = 64 * 1024 * 1024

# The users' own keys, below /kv/.
KV_QUOTA_BYTES = 256 * 1024 * 1024  # keys and values; the configuration's own writes are not counted
KV_KEYS = 500_000  # each costs about 500 bytes of memory at every member, and a count at MIC
KV_TXN_BYTES = 1536 * 1024  # what etcd takes; a value may fill STORE_VALUE_BYTES of it
KV_TXN_OPERATIONS = 128  # what etcd takes
KV_PAGE_KEYS = 1000
KV_DELETE_KEYS = 10_000  # by one prefix: about 50 ms in which nothing else is applied
KV_PAGE_BYTES = 4 * 1024 * 1024  # one answer; the link carries others between its parts
KV_LEASES = 10_000
KV_LEASE_MIN_S = 2.0  # below it a lease would end in an election
KV_LEASE_MAX_S = 30 * 86400.0
KV_WRITES_UNDER_WAY = 32  # half of what a session remembers
KV_REQUESTS_PER_S = 2000.0  # of one token, sustained
KV_REQUESTS_BURST = 4000.0
KV_KEYS_PER_REQUEST = 1000.0  # read at once; every further thousand counts as another request of the token
KV_REPEATABLE = (
    200_000  # request ids that are remembered at a time, about 150 MB at every member: 220 a second for ever
)

# People.
PASSWORD_MEMORY_KIB = 64 * 1024  # what makes guessing dear: the second choice of RFC 9106, 266 ms here
PASSWORD_PASSES = 3
PASSWORDS_AT_ONCE = 2  # each holds that memory
PASSWORDS_WAITING = 32  # nobody waits longer than 5 s for them
PASSWORD_CHARACTERS_MIN = 10
PASSWORD_CHARACTERS = 256  # a sentence; more is only work for us
TRIES_OF_SOURCE = 20  # an office behind one address mistypes as much in a morning
TRY_OF_SOURCE_S = 6.0
TRIES_AT_ACCOUNT = 5  # from one source: whoever has not found it by then does not know it
TRY_AT_ACCOUNT_S = 30.0
TRIES_AT_ACCOUNT_ALL = 60  # from all sources together; with its pace more than two sources can use up
TRY_AT_ACCOUNT_ALL_S = 10.0
TRIES_KEPT = 4096  # buckets of tries, about 300 bytes each
SOURCE_CHARACTERS = 64  # an IPv6 address with its zone
PEOPLE_PER_DOMAIN = 1_000  # administrators, and programs with a name of their own
TOKENS_PER_PERSON = 32
TOKENS = 10_000
SCOPES_PER_TOKEN = 16
LOGIN_TTL_S = 12 * 3600.0  # a working day
LOGIN_TTL_MAX_S = 30 * 86400.0
TOKEN_TTL_S = 90 * 86400.0  # whoever forgets to say for how long is asked again within a quarter
TOKEN_TTL_MAX_S = 366 * 86400.0
ENTITIES_PER_DOMAIN = 1_000
NOTE_CHARACTERS = 200  # a line
DOMAIN_FILE_BYTES = 2 * 1024 * 1024  # all people and entities of a domain, about 400 bytes each
AUDIT_ENTRIES = 10_000
AUDIT_ENTRY_BYTES = 1024  # with the above: the audit never takes more than 10 MiB of the store
AUDIT_PAGE = 500
AUDIT_LOOKED_AT = 2_000  # entries passed over for one answer, about 20 ms

KV_ETCD_ANSWER_BYTES = 16 * 1024 * 1024  # etcd's API has no pages; what is larger is refused
KV_ETCD_WATCHES = 1000  # over one stream
KV_ETCD_STREAMS = 1000  # requests and streams at once, over all connections
KV_ETCD_CONNECTIONS = 1000  # handshakes included; a descriptor and 30 KiB each
KV_ETCD_IDLE_S = 600.0  # a connection without a request or a stream; clients of etcd come again by themselves

LOCAL_WATCHERS = 2048  # programs that look at their server's own view; a descriptor and about 12 KiB each

# HTTP.
HTTP_BODY_BYTES = DOCUMENT_BYTES + 64 * 1024
HTTP_WAIT_S = 60.0

# Ports per server address.
PORT_SHELL = 7400
PORT_MIC = 7401
PORT_IC = 7402
PORT_RAFT = 7403
PORT_WS = 8443
UNIX_PATH_BYTES = 107  # sun_path less its NUL
