#!lua flags=allow-oom
-- listed(provider, whether it fetches models 0|1, models JSON or "", error JSON or "")
-- What a worker heard when it asked a provider for its models.
-- KEYS  providers:models hash · providers:asked hash (<provider>:pulls, <provider>:listed, <provider>:error)
-- Reply 1
-- include base
local provider, asked, now = ARGV[1], P .. 'providers:asked', now_ms()
redis.call('HSET', asked, provider .. ':pulls', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('HSET', P .. 'providers:models', provider, ARGV[3])
  redis.call('HSET', asked, provider .. ':listed', now)
end
if ARGV[4] ~= '' then redis.call('HSET', asked, provider .. ':error', now .. ' ' .. ARGV[4]) end
return 1
