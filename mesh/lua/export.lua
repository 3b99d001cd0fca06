#!lua flags=allow-oom
-- export("begin", last exported id or "", first id, last id) | export("end", first id, last id)
-- Agree on which ledger rows leave next, so that all who export write the same file; then remember that they have left, and drop them.
-- KEYS  ledger:exporting string "<first> <last>" · ledger:exported string · ledger:rows stream
-- Reply of begin: the range that is to leave now, perhaps another's | of end: 1 | 0 it had left before
-- include base
local under_way = redis.call('GET', P .. 'ledger:exporting')
if ARGV[1] == 'begin' then
  if under_way then return under_way end
  -- Somebody else was faster, and has ended too.
  if (redis.call('GET', P .. 'ledger:exported') or '') ~= ARGV[2] then return '' end
  local range = ARGV[3] .. ' ' .. ARGV[4]
  redis.call('SET', P .. 'ledger:exporting', range)
  return range
end
if under_way ~= ARGV[2] .. ' ' .. ARGV[3] then return 0 end
redis.call('SET', P .. 'ledger:exported', ARGV[3])
redis.call('DEL', P .. 'ledger:exporting')
local ms, number = ARGV[3]:match('^(%d+)-(%d+)$')
redis.call('XTRIM', P .. 'ledger:rows', 'MINID', ms .. '-' .. number + 1)
return 1
