"""Results of load tests that never ran."""

from appliance.http_client import parse_url
from appliance.replay.interval_stats import Ended, IntervalRecorder
from appliance.replay.load_profile import LoadProfile
from appliance.replay.result import summarize
from appliance.replay.target import LoadTarget
from appliance.replay.timeline import Timeline

PROFILE = LoadProfile(duration=10, connections=4, processes=2, rate=100.0)


ENDS = (Ended(0, 1.0, 10.0),)


TARGET = LoadTarget(parse_url("https://card.example/h"), "192.0.2.1", None)


def part(place, *latencies, **counts):
    recorder = IntervalRecorder(place)
    for latency in latencies:
        recorder.latency(latency)
    finished = recorder.finish()
    for name, value in counts.items():
        setattr(finished, name, value)
    return finished


def summed(*parts, profile=PROFILE, ends=ENDS, max_p99=None, interrupted=False):
    timeline = Timeline(profile)
    for one in parts:
        timeline.add(one, profile.processes)
    timeline.finish()
    return summarize(TARGET, profile, timeline, ends, started=1790000000.0, max_p99=max_p99, interrupted=interrupted)


GOOD = (part(0, 1000, 2000, statuses={200: 2}), part(0, 3000, statuses={200: 1}), part(1, 500, statuses={200: 1}))
