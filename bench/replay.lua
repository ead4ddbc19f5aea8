-- Replays requests from a file, one a line, in its order: wrk -s bench/replay.lua URL -- GET|POST FILE [PATH]
-- GET: what follows the slash. POST: the body in hexadecimal, sent to PATH, which is / without it. Every status but 2xx
-- is counted by wrk itself.

local requests, count, place = {}, 0, 0

function init(arguments)
    local method, path, target = arguments[1], arguments[2], arguments[3] or "/"
    local headers = { ["Host"] = wrk.headers["Host"] }
    if method == "POST" then
        headers["Content-Type"] = "application/ocsp-request"
    end
    for line in io.lines(path) do
        count = count + 1
        if method == "GET" then
            requests[count] = wrk.format("GET", "/" .. line, headers)
        else
            local body = line:gsub("..", function(digits) return string.char(tonumber(digits, 16)) end)
            requests[count] = wrk.format("POST", target, headers, body)
        end
    end
end

function request()
    place = place % count + 1
    return requests[place]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "bad": %d, "broken": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
