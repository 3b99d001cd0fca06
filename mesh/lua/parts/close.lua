-- End a job, whatever it was doing: state, holds, indexes, one ledger row, the doors, the retention.
-- report: reason (in the timeline), sealed (the end event) or none, result, attempt, usage, cost, measured (by unit, for the holds),
-- finished (by which fence), last (number of the last event, where the caller knows it)
local function close(id, job, state, now, report)
  local key = P .. 'job:' .. id
  local last = report.last or last_event(id)
  local seq = last + 1
  local attempts = push_attempt(job.attempts, report.attempt)
  local sealed, reason, usage, cost = report.sealed or '', report.reason or '', report.usage or '', report.cost or ''
  redis.call('HSET', key, 'state', state, 'ended', now, 'seq', seq, 'attempts', attempts, 'end', sealed, 'result', report.result or '',
    'reason', reason, 'usage', usage, 'cost', cost, 'finished', report.finished or '', 'timeline', stamp(job.timeline, now, state, reason),
    'request', '')
  if job.large == '1' then redis.call('DEL', P .. 'request:' .. id) end
  if job.state == 'running' then
    redis.call('ZREM', P .. 'running:' .. job.lane, id)
  else
    redis.call('ZREM', P .. 'waiting:' .. job.lane, id)
    redis.call('ZREM', P .. 'jobs:due', id)
  end
  redis.call('ZREM', P .. 'jobs:open', id)
  local measured, lost = measured_by(attempts)
  for unit, amount in pairs(report.measured or {}) do measured[unit] = (measured[unit] or 0) + amount end
  end_holds(read_holds(job.holds), tonumber(job.created), now, measured, lost)
  redis.call('PEXPIRE', key, job.retention)
  if seq > 1 then redis.call('PEXPIRE', P .. 'events:' .. id, job.retention) end
  redis.call('XADD', P .. 'ledger:rows', 'MAXLEN', '~', 1000000, '*', 'job', id, 'tenant', job.tenant, 'key', job.key, 'state', state,
    'provider', job.provider, 'model', job.model, 'attempts', '[' .. attempts .. ']', 'usage', usage, 'cost_usd', cost,
    'created', job.created, 'ended', now, 'tags', job.tags or '')
  local entries = {}
  -- Where there was no stream, whoever waits wants the whole answer at once.
  collect(entries, job.doors, id .. ' ' .. seq .. '!' .. #sealed .. ' ' .. sealed .. (last == 0 and report.result or ''))
  tell(entries)
end
