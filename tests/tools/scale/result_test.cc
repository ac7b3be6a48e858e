// What is written of a result: every form reads back, and says the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/scale/example_result.h"
#include "tools/scale/result_json.h"
#include "tools/scale/result_lines.h"
#include "tools/scale/result_table.h"

namespace lockstep::inline v0_1::scale {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(CurveOf, CountsThroughputOverTheBase) {
  const ScaleResult result = ExampleResult();
  const Curve& strong = result.curves[0];
  ASSERT_EQ(strong.points.size(), 4u);
  EXPECT_EQ(result.points[strong.points[0].point].workers(), 1);
  EXPECT_DOUBLE_EQ(strong.points[0].speedup, 1.0);
  EXPECT_DOUBLE_EQ(strong.points[1].speedup, 100.0 / 60.0);
  EXPECT_DOUBLE_EQ(strong.points[1].efficiency(), 100.0 / 120.0);
  EXPECT_LE(strong.points[1].low, strong.points[1].speedup);
  EXPECT_GE(strong.points[1].high, strong.points[1].speedup);
  // Weak: twice the samples in 1.1 times the time.
  EXPECT_DOUBLE_EQ(result.curves[1].points[1].speedup, 2.0 * 100.0 / 110.0);
  EXPECT_FALSE(result.curves[1].fit.has_value());
  EXPECT_TRUE(strong.fit.has_value());
}

TEST(JsonText, ReadsBack) {
  const ScaleResult result = ExampleResult();
  const auto json = nlohmann::json::parse(JsonText(result));
  EXPECT_EQ(json["points"].size(), result.points.size());
  EXPECT_DOUBLE_EQ(json["points"][0]["median"].get<double>(), 0.1);
  EXPECT_EQ(json["curves"][0]["fit"]["law"], "amdahl");
  EXPECT_TRUE(json["curves"][1]["fit"].is_null());
  EXPECT_EQ(json["curves"][1]["fit_missing"], "not enough points");
  EXPECT_EQ(json["machine"]["processor"], "a \"processor\" <b>");
  EXPECT_EQ(json["layers"][0]["layers"].size(), 3u);
  EXPECT_EQ(json["prediction"]["weak"].back()["ranks"], 64);
  EXPECT_EQ(json["prediction"]["weak"].back()["predicted"], true);
  EXPECT_TRUE(json["points"][0]["joules"].is_null());
}

TEST(RankReport, ComesBackAsItWas) {
  const ScaleResult result = ExampleResult();
  RankReport report{.points = result.points,
                    .network = {.latency_seconds = 1e-6, .bytes_per_second = 3e9, .source = "here"},
                    .mpi = "an MPI",
                    .placement = "2 on here: 0-1"};
  report.points[0].timing.joules = 2.5;
  const auto back = ParseRankReport(JsonText(report), "file");
  ASSERT_TRUE(back.ok()) << back.status().message();
  ASSERT_EQ(back->points.size(), report.points.size());
  for (size_t i = 0; i < report.points.size(); ++i) {
    EXPECT_EQ(back->points[i].timing.seconds, report.points[i].timing.seconds);
    EXPECT_EQ(back->points[i].batch, report.points[i].batch);
    EXPECT_EQ(back->points[i].weak, report.points[i].weak);
    EXPECT_EQ(back->points[i].timing.joules, report.points[i].timing.joules);
  }
  EXPECT_EQ(back->network.bytes_per_second, 3e9);
  EXPECT_EQ(back->mpi, "an MPI");
  EXPECT_EQ(back->placement, "2 on here: 0-1");
}

TEST(RankReport, OtherFilesAreAnError) {
  for (const char* text : {"", "{", "[]", "{}", "{\"points\": 3}", "null",
                           "{\"points\":[{}],\"network\":{},\"mpi\":\"\"}"}) {
    const auto report = ParseRankReport(text, "some.json");
    ASSERT_FALSE(report.ok()) << text;
    EXPECT_THAT(report.status().message(), HasSubstr("some.json"));
  }
}

TEST(CsvText, HasAsManyFieldsInEachRow) {
  const std::vector<std::string> lines = Lines(CsvText(ExampleResult()));
  ASSERT_EQ(lines.size(), 1u + 4u + 2u);
  const auto commas = std::count(lines[0].begin(), lines[0].end(), ',');
  for (const std::string& line : lines)
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), commas) << line;
  EXPECT_THAT(lines[1], HasSubstr("strong,1,1,1,128,1,100,"));
}

// ReFrame finds figures by regular expressions: one name, a number and a unit in a line.
TEST(ReframeText, IsSaneFirstAndThenNameValueUnit) {
  const std::vector<std::string> lines = Lines(ReframeText(ExampleResult()));
  ASSERT_GT(lines.size(), 10u);
  EXPECT_EQ(lines[0], "sanity: ok");
  static const std::regex kLine(R"(([a-z0-9_]+): (-?[0-9.]+(e[-+]?[0-9]+)?) (\S+))");
  std::set<std::string> names;
  std::smatch match;
  for (size_t i = 1; i < lines.size(); ++i) {
    ASSERT_TRUE(std::regex_match(lines[i], match, kLine)) << lines[i];
    EXPECT_TRUE(names.insert(match[1]).second) << lines[i] << " comes twice";
  }
  EXPECT_TRUE(names.contains("strong_1r_2t_step"));
  EXPECT_TRUE(names.contains("strong_2r_2t_waited"));
}

TEST(ReframeText, SaysWhatIsNotSaneAndNoFigures) {
  ScaleResult result = ExampleResult();
  result.points[1].timing.seconds.clear();
  const std::vector<std::string> lines = Lines(ReframeText(result));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("2 threads has no step time"));
  EXPECT_EQ(ReframeText(ScaleResult{}), "sanity: nothing was measured\n");
}

TEST(MllogText, IsALineOfJsonEachBetweenStartAndStop) {
  const std::vector<std::string> lines = Lines(MllogText(ExampleResult(), 1700000000000));
  std::vector<std::string> keys;
  for (const std::string& line : lines) {
    ASSERT_TRUE(line.starts_with(":::MLLOG {")) << line;
    const auto json = nlohmann::json::parse(line.substr(9));
    for (const char* key : {"namespace", "time_ms", "event_type", "key", "value", "metadata"})
      EXPECT_TRUE(json.contains(key)) << key;
    EXPECT_GE(json["time_ms"].get<int64_t>(), 1700000000000);
    keys.push_back(json["key"]);
  }
  EXPECT_EQ(keys[0], "submission_benchmark");
  EXPECT_THAT(lines[0], HasSubstr("not a submission"));
  EXPECT_EQ(keys.back(), "run_stop");
  EXPECT_EQ(std::count(keys.begin(), keys.end(), "run_start"), 1);
  EXPECT_EQ(std::count(keys.begin(), keys.end(), "tracked_stats"), 6);
}

TEST(TableText, SaysWhatItShows) {
  const std::string text = TableText(ExampleResult());
  for (const char* part :
       {"strong scaling", "weak scaling", "4 threads", "2 ranks x 2 threads", "unstable",
        "Amdahl: ", "Gustafson: not enough points", "of bound", "predicted, weak scaling",
        "T(R) = ", "measured on one rank", "error ", "processor", "note: a note"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("mJ/sample")));  // of no point is it known
  ScaleResult unchecked = ExampleResult();
  unchecked.prediction->checks.clear();
  EXPECT_THAT(TableText(unchecked), HasSubstr("not checked against several ranks"));
  EXPECT_THAT(text, Not(HasSubstr("not checked against several ranks")));
}

}  // namespace
}  // namespace lockstep::scale
