package redisstore

import "github.com/redis/go-redis/v9"

// Results of the scripts.
const (
	resultDone     = "done"
	resultMissing  = "missing"
	resultConflict = "conflict"
)

// Redis runs a script as a whole, so nothing comes between the comparison and the change. Each
// gets the key of one session.
var (
	// Arguments: expected version, new version, created, used, deadline, data.
	saveScript = redis.NewScript(`
local version = redis.call('HGET', KEYS[1], 'version')
if not version and ARGV[1] ~= '0' then return 'missing' end
if version and version ~= ARGV[1] then return 'conflict' end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'created', ARGV[3], 'used', ARGV[4], 'deadline', ARGV[5], 'data', ARGV[6])
if ARGV[5] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ARGV[5]) end
return 'done'`)

	// Arguments: used, deadline.
	touchScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
redis.call('HSET', KEYS[1], 'used', ARGV[1], 'deadline', ARGV[2])
if ARGV[2] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
return 'done'`)

	// Arguments: expected version, 0 for any.
	deleteScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
if ARGV[1] ~= '0' and redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 'conflict' end
redis.call('DEL', KEYS[1])
return 'done'`)
)
