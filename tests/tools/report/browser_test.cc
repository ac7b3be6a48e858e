// Pages as a browser shows them, on a desk and on a phone. Skipped where there is no Chromium.
#include "tests/tools/browser.h"

#include <cmath>

#include "tests/tools/program.h"
#include "tools/report/page.h"

namespace lockstep::inline v0_1::tools {
namespace {

class InBrowser : public Program {
 protected:
  void SetUp() override {
    if (Browser().empty()) GTEST_SKIP() << "there is no Chromium here (Debian: chromium)";
    Program::SetUp();
  }
  void TearDown() override {
    if (!folder_.empty()) Program::TearDown();
  }

  void ExpectGood(const std::string& html, int plots, int images = 0) {
    for (const int width : {1280, 390}) {
      const Seen seen = OpenInBrowser(html, width, folder_);
      EXPECT_EQ(seen.canvases, plots);
      EXPECT_EQ(seen.blank_canvases, 0);
      EXPECT_GE(seen.images, images);
      EXPECT_EQ(seen.broken_images, 0);
      EXPECT_EQ(seen.width, width);
      EXPECT_LE(seen.overflow, 0) << "the page is wider than " << width << " pixels";
      EXPECT_EQ(seen.errors, "");
    }
  }
};

TEST_F(InBrowser, TheCheckSeesErrorsAndBlankPlots) {
  const Seen seen = OpenInBrowser(
      "<html><head></head><body><canvas></canvas><img src=data:image/png;base64,AAAA><p "
      "style='width:2000px'>wide</p>"
      "<script>no_such_function()</script></body></html>",
      390, folder_);
  EXPECT_EQ(seen.canvases, 1);
  EXPECT_EQ(seen.blank_canvases, 1);
  EXPECT_EQ(seen.images, 1);
  EXPECT_EQ(seen.broken_images, 1);
  EXPECT_GT(seen.overflow, 1000);
  EXPECT_NE(seen.errors.find("no_such_function"), std::string::npos) << seen.errors;
}

TEST_F(InBrowser, EveryKindOfPlotIsDrawn) {
  Page page("Plots", "all kinds");
  for (const Chart::Kind kind : {Chart::Kind::kLine, Chart::Kind::kBar, Chart::Kind::kScatter}) {
    for (const bool log : {false, true}) {
      for (const bool band : {false, true}) {
        Chart chart{.title = "plot", .x_label = "x", .y_label = "y", .kind = kind, .log_y = log};
        chart.log_x = log && kind != Chart::Kind::kBar;
        if (kind == Chart::Kind::kBar) chart.categories = {"one", "a very long name", "three"};
        Series series{.name = "</script><!-- a", .x = {1, 2, 3}, .y = {0.5, std::nan(""), 2.0}};
        if (band) series.low = {0.4, 0.5, 1.0}, series.high = {0.6, 0.7, 3.0};
        chart.series = {series, series};
        chart.series[1].name = "b";
        page.Plot(chart);
      }
    }
  }
  Chart depth{.title = "depth", .categories = {"1", "2"}, .series = {{.name = "a", .y = {1, 2}}}};
  page.Plot(depth);
  depth.series[0].y = {std::nan(""), std::nan("")};
  page.Plot(depth);
  page.Table({"name", "a long heading", "another long heading", "a third long heading", "fourth"},
             {{"a", "1.234567", "2.345678", "3.456789", "a long text with many words in it"}});
  ExpectGood(page.Html(), 14);
}

TEST_F(InBrowser, TheReportOfABinaryClassifierIsGood) {
  ASSERT_EQ(Run("train " + kClinical + " data.size=600 train.epochs=3").code, 0);
  // Loss, accuracy, AUC, learning rate, speed, ROC, time by layer, scale by layer.
  ExpectGood(Read("runs/clinical/report.html"), 11);
}

TEST_F(InBrowser, TheReportOfAClassifierOfPicturesIsGood) {
  ASSERT_EQ(Run("train " LOCKSTEP_SOURCE_DIR
                "/models/recipes/digits_mlp.toml data.size=400 train.epochs=2 model.hidden=[16]")
                .code,
            0);
  // 24 samples and 16 filters at least.
  ExpectGood(Read("runs/digits_mlp/report.html"), 7, 40);
}

TEST_F(InBrowser, TheReportOfAConvolutionalNetworkIsGood) {
  ASSERT_EQ(Run("train " LOCKSTEP_SOURCE_DIR
                "/models/recipes/digits_cnn.toml data.size=400 train.epochs=2 model.channels=[8] "
                "output.folder=run")
                .code,
            0);
  ExpectGood(Read("run/report.html"), 7, 32);
}

TEST_F(InBrowser, EveryStudyPageIsDrawn) {
  for (const std::string name : {"b1", "b2", "b3", "b4", "b5", "m1", "m2", "m4"}) {
    SCOPED_TRACE(name);
    const Ran ran =
        Run("study " + name + " --seeds 2 data.size=640 data.validation=0.5 train.epochs=1");
    ASSERT_EQ(ran.code, 0) << ran.out;
    const std::string html = Read("runs/study_" + name + "/index.html");
    int plots = 0;
    for (size_t at = html.find("<canvas"); at != std::string::npos;
         at = html.find("<canvas", at + 1))
      ++plots;
    ASSERT_GE(plots, 1);
    ExpectGood(html, plots);
  }
}

}  // namespace
}  // namespace lockstep::tools
