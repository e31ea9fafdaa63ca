"""What the processes report, put together."""

from appliance.replay.interval_stats import IntervalStats
from appliance.replay.timeline import Timeline
from tests.replay.summed import PROFILE, part


def test_a_point_is_given_once_all_have_told():
    timeline = Timeline(PROFILE)
    assert timeline.add(part(0, 1000), 2) is None
    assert timeline.add(part(1, 1000), 2) is None
    assert timeline.add(part(0, 3000), 2).answers == 2
    assert timeline.add(part(2, 1000), 1).answers == 1
    timeline.finish()
    assert [point.at for point in timeline.points] == [0.5, 1.0, 1.5]


def test_intervals_do_not_share_what_they_count():
    one, other = IntervalStats(0), IntervalStats(0)
    one.statuses[200] = 1
    assert other.statuses == {}
