package redispubsub

import "github.com/redis/go-redis/v9"

// The keys of a channel:
//
//	m  a hash: epoch, seq (number of the last message), bytes (of what is kept), joins
//	h  a list: the messages that are kept
//	w  a sorted set: member id, line end, process; by the time when the lease ends
//	c  a hash: the number of processes in w, by member id
//	i  a hash: number of the join, space, info; by member id
//
// And of a process: n:ID, a hash of the numbers of subscriptions by channel. The sorted set "nodes"
// has the processes, by the time when their lease ends. Times are milliseconds of Redis's clock.
const clock = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

var (
	// Keys: m, h. Arguments: an epoch, content, most messages, most bytes, age, time for m, channel.
	publishScript = redis.NewScript(clock + `
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local seq = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'seq', 1))
local entry = epoch .. ' ' .. seq .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[2]
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
if most == 0 then
	redis.call('DEL', KEYS[2])
else
	local n = redis.call('RPUSH', KEYS[2], entry)
	local bytes = #entry
	if n > 1 then bytes = bytes + tonumber(redis.call('HGET', KEYS[1], 'bytes') or '0') end
	while n > 0 and (n > most or bytes > room) do
		bytes = bytes - #redis.call('LPOP', KEYS[2])
		n = n - 1
	end
	redis.call('HSET', KEYS[1], 'bytes', string.format('%.0f', bytes))
	redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PUBLISH', ARGV[7], 'D' .. entry)
return epoch .. '-' .. seq`)

	// Keys: m, h. Arguments: 1 for what is kept. Returns epoch, seq, now, and the messages.
	readScript = redis.NewScript(clock + `
local kept = {}
if ARGV[1] == '1' then kept = redis.call('LRANGE', KEYS[2], 0, -1) end
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
return {meta[1] or '', meta[2] or '0', string.format('%.0f', now), kept}`)

	// Keys: m, w, c, i. Arguments: process, member, info, lease, channel.
	joinScript = redis.NewScript(clock + `
if redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[2] .. '\n' .. ARGV[1]) == 0 then return 0 end
if redis.call('HINCRBY', KEYS[3], ARGV[2], 1) == 1 then
	local join = redis.call('HINCRBY', KEYS[1], 'joins', 1)
	redis.call('HSET', KEYS[4], ARGV[2], string.format('%.0f', join) .. ' ' .. ARGV[3])
	redis.call('PUBLISH', ARGV[5], 'J' .. redis.call('HLEN', KEYS[4]) .. ' ' .. ARGV[2] .. '\n' .. ARGV[3])
end
return 1`)

	// Keys: m, w, c, i. Arguments: channel, then what leaves of w. Without any, that is what has no
	// lease.
	leaveScript = redis.NewScript(clock + `
local gone = {}
for i = 2, #ARGV do gone[i - 1] = ARGV[i] end
if #ARGV == 1 then gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000) end
for _, who in ipairs(gone) do
	if redis.call('ZREM', KEYS[2], who) == 1 then
		local id = string.match(who, '^[^\n]*')
		if redis.call('HINCRBY', KEYS[3], id, -1) <= 0 then
			local info = redis.call('HGET', KEYS[4], id) or ' '
			redis.call('HDEL', KEYS[3], id)
			redis.call('HDEL', KEYS[4], id)
			redis.call('PUBLISH', ARGV[1], 'L' .. redis.call('HLEN', KEYS[4]) .. ' ' .. id .. '\n' .. string.match(info, '^%d* (.*)$'))
		end
	end
end
return #gone`)

	// Keys: m, w, c, i. Arguments: member, info, channel.
	infoScript = redis.NewScript(`
local old = redis.call('HGET', KEYS[4], ARGV[1])
if not old then return 0 end
local join, info = string.match(old, '^(%d*) (.*)$')
if info ~= ARGV[2] then
	redis.call('HSET', KEYS[4], ARGV[1], join .. ' ' .. ARGV[2])
	redis.call('PUBLISH', ARGV[3], 'U' .. redis.call('HLEN', KEYS[4]) .. ' ' .. ARGV[1] .. '\n' .. ARGV[2])
end
return 1`)

	// Keys: nodes. Arguments: lease, process. Returns the processes that are there.
	nodesScript = redis.NewScript(clock + `
if #ARGV == 2 then redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)`)
)
