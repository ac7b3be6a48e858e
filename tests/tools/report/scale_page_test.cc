#include "tools/report/scale_page.h"

#include <gmock/gmock.h>

#include "tests/tools/browser.h"
#include "tests/tools/program.h"
#include "tests/tools/scale/example_result.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

nlohmann::json ChartsIn(const std::string& html) {
  const std::string open = "id=\"charts\">";
  const size_t begin = html.find(open) + open.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

const nlohmann::json* SeriesNamed(const nlohmann::json& chart, const std::string& name) {
  for (const auto& series : chart["series"]) {
    if (series["name"] == name) return &series;
  }
  return nullptr;
}

TEST(ScalePage, HasEverySection) {
  const std::string html = ScalePage(scale::ExampleResult());
  for (const char* heading : {"Strong scaling", "Weak scaling", "Roofline", "Communication",
                              "Predicted: more ranks than were there", "How it was measured"}) {
    EXPECT_THAT(html, HasSubstr("<h2>" + std::string(heading) + "</h2>"));
  }
  for (const char* text : {"unstable", "Gustafson: not enough points", "T(R) = ", "a note",
                           "&quot;processor&quot; &lt;b&gt;", "2 ranks x 2 threads"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
  EXPECT_THAT(html, Not(HasSubstr(" src=")));
}

TEST(ScalePage, SpeedUpStandsBesideTheIdealLineAndTheFit) {
  const auto charts = ChartsIn(ScalePage(scale::ExampleResult()));
  const auto& strong = charts[0];
  ASSERT_NE(SeriesNamed(strong, "ideal"), nullptr);
  EXPECT_EQ((*SeriesNamed(strong, "ideal"))["y"].dump(), "[1.0,4.0]");
  EXPECT_NE(SeriesNamed(strong, "Amdahl's law, fitted"), nullptr);
  EXPECT_EQ((*SeriesNamed(strong, "measured"))["low"].size(), 3u);
  // Four threads and two ranks of two are as many workers: two lines.
  ASSERT_NE(SeriesNamed(strong, "measured, 2 ranks"), nullptr);
  EXPECT_EQ((*SeriesNamed(strong, "measured, 2 ranks"))["x"].dump(), "[4.0]");
  // Of the weak curve there are not enough points.
  EXPECT_EQ(SeriesNamed(charts[2], "Gustafson's law, fitted"), nullptr);
}

TEST(ScalePage, WhatIsPredictedIsDashedAndCalledSo) {
  bool seen = false;
  for (const auto& chart : ChartsIn(ScalePage(scale::ExampleResult()))) {
    for (const auto& series : chart["series"]) {
      const std::string name = series["name"];
      EXPECT_EQ(series["dashed"].get<bool>(), name.starts_with("predicted")) << name;
      seen = seen || name == "predicted";
    }
  }
  EXPECT_TRUE(seen);
}

TEST(ScalePage, WithoutRanksOrPredictionItSaysSo) {
  scale::ScaleResult result = scale::ExampleResult();
  result.points.pop_back();
  result.curves = {CurveOf(scale::Mode::kStrong, result.points)};
  result.prediction.reset();
  const std::string html = ScalePage(result);
  EXPECT_THAT(html, HasSubstr("nothing was sent"));
  EXPECT_THAT(html, Not(HasSubstr("redicted")));
  EXPECT_THAT(html, Not(HasSubstr("Weak scaling")));
}

class InBrowser : public Program {};

TEST_F(InBrowser, EveryPlotIsDrawn) {
  if (Browser().empty()) GTEST_SKIP() << "there is no Chromium here (Debian: chromium)";
  const std::string html = ScalePage(scale::ExampleResult());
  for (const int width : {1280, 390}) {
    const Seen seen = OpenInBrowser(html, width, folder_);
    // Speed-up and efficiency twice, layers twice, waiting, predictions twice.
    EXPECT_EQ(seen.canvases, 9);
    EXPECT_EQ(seen.blank_canvases, 0);
    EXPECT_LE(seen.overflow, 0) << "the page is wider than " << width << " pixels";
    EXPECT_EQ(seen.errors, "");
  }
}

}  // namespace
}  // namespace lockstep::tools
