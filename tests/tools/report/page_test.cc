#include "tools/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kHostile = "</script><script>alert('1')</script>\"&<!--";

Chart LineOf(std::vector<double> y) {
  Chart chart{.title = "Loss"};
  chart.series.push_back({.name = "train", .y = std::move(y)});
  for (size_t i = 0; i < chart.series[0].y.size(); ++i) {
    chart.series[0].x.push_back(static_cast<double>(i));
  }
  return chart;
}

nlohmann::json ChartsIn(const std::string& html) {
  const std::string open = "id=\"charts\">";
  const size_t begin = html.find(open) + open.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Page, NoTextBecomesMarkup) {
  Page page(kHostile, kHostile);
  page.Heading(kHostile);
  page.Text(kHostile);
  page.Table(kHostile, {kHostile}, {{kHostile}});
  page.Matrix(kHostile, {kHostile}, {kHostile}, {{1}});
  page.Pictures(kHostile, {{.uri = std::string("data:") + kHostile,
                            .height = 1,
                            .width = 1,
                            .caption = kHostile,
                            .note = kHostile}});
  page.Listing(kHostile, kHostile);
  const std::string html = page.Html();
  EXPECT_EQ(Count(html, "<script"), 0u);
  EXPECT_THAT(
      html, HasSubstr("&lt;/script&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
}

TEST(Page, DataCannotLeaveItsScript) {
  Chart chart = LineOf({1.0, 2.0});
  chart.title = chart.x_label = chart.y_label = chart.series[0].name = kHostile;
  Page page("title", "");
  page.Plot(chart);
  const std::string html = page.Html();
  EXPECT_EQ(Count(html, "<script"), 3u);  // data, library, what draws
  EXPECT_EQ(Count(html, "</script"), 3u);
  EXPECT_THAT(html, Not(HasSubstr("alert('1')</script>")));
  EXPECT_EQ(ChartsIn(html)[0]["series"][0]["name"], kHostile);
}

TEST(Page, NamesThatAreNotUtf8AreKeptApartFromTheData) {
  Chart chart = LineOf({1.0});
  chart.series[0].name = "\xff\xfe";
  Page page("title", "");
  page.Plot(chart);
  EXPECT_EQ(ChartsIn(page.Html())[0]["series"][0]["name"], "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Page, WhatIsNotFiniteIsAGap) {
  const double inf = std::numeric_limits<double>::infinity();
  Page page("title", "");
  page.Plot(LineOf({1.0, std::nan(""), inf, -inf, -2.0}));
  Chart log = LineOf({1.0, 0.0, -2.0});
  log.log_y = true;
  page.Plot(log);
  const nlohmann::json charts = ChartsIn(page.Html());
  EXPECT_EQ(charts[0]["series"][0]["y"].dump(), "[1.0,null,null,null,-2.0]");
  EXPECT_EQ(charts[1]["series"][0]["y"].dump(), "[1.0,null,null]");
}

TEST(Page, IsOneFileThatLoadsNothing) {
  Page page("title", "subtitle");
  page.Plot(LineOf({1.0}));
  const std::string html = page.Html();
  for (const char* loads : {" src=", "<link", "@import", "url(", "fetch(", "import("}) {
    EXPECT_THAT(html, Not(HasSubstr(loads)));
  }
  page.Pictures("pictures", {{.uri = "data:image/png;base64,AAAA", .height = 2, .width = 3}});
  const std::string more = page.Html();
  EXPECT_EQ(Count(more, " src="), 1u);
  EXPECT_EQ(Count(more, " src=\"data:image/png;base64,AAAA\""), 1u);
  EXPECT_ANY_THROW(page.Pictures("", {{.uri = "picture.png"}}));
}

TEST(Page, CarriesTheLicenceOfTheLibraryWhereItCarriesTheLibrary) {
  Page plain("title", "");
  plain.Text("no plot");
  EXPECT_LT(plain.Html().size(), 20000u);
  plain.Plot(LineOf({1.0}));
  EXPECT_THAT(plain.Html(), HasSubstr("Permission is hereby granted, free of charge"));
}

TEST(Page, EveryChartHasItsCanvasAndEveryElementItsEnd) {
  Page page("title", "");
  page.Heading("one");
  page.Plot(LineOf({1.0}));
  page.Plot(LineOf({2.0}));
  page.Table({"a", "b"}, {{"1", "2"}});
  page.Text("two");
  page.Matrix("matrix", {"a", "b"}, {"a", "b"}, {{5, 0}, {1, 4}});
  page.Pictures("pictures", {{.uri = "data:", .caption = "a", .note = "b", .wrong = true},
                             {.uri = "data:", .height = 2, .width = 3}});
  const std::string html = page.Html();
  EXPECT_EQ(Count(html, "<canvas id=\"chart-"), ChartsIn(html).size());
  const std::string body =
      html.substr(html.find("<body"), html.find("<script") - html.find("<body"));
  for (const std::string tag : {"div", "figure", "figcaption", "table", "tr", "td", "th", "p",
                                "canvas", "ul", "li", "span", "small"}) {
    EXPECT_EQ(Count(body, "<" + tag + ">") + Count(body, "<" + tag + " "),
              Count(body, "</" + tag + ">"))
        << tag;
  }
}

}  // namespace
}  // namespace lockstep::tools
