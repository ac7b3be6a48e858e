// lockstep scale, as its user sees it. No figure of it depends on how fast this machine is.
#include <gmock/gmock.h>

#include "engine/parallel/context.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

// As quick as it can be: one step a round.
const std::string kQuick = "scale " + kClinical + " data.size=600 --seconds 0 ";

TEST_F(Program, ScaleMeasuresAndWritesEveryForm) {
  const Ran ran = Run(kQuick + "--threads 1 --repetitions 3 --json all.json --csv rows.csv");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("strong scaling"));
  EXPECT_THAT(ran.out, HasSubstr("not enough points for a fit"));
  EXPECT_THAT(ran.out, HasSubstr("too few for a 95 % interval"));
  EXPECT_THAT(ran.out, HasSubstr("0 Linear"));
  const std::string folder = "runs/scale_clinical/";
  EXPECT_THAT(Read(folder + "index.html"), HasSubstr("<h2>Roofline</h2>"));
  const auto json = nlohmann::json::parse(Read(folder + "scale.json"));
  ASSERT_EQ(json["points"].size(), 1u);
  EXPECT_EQ(json["points"][0]["batch"], 64);
  EXPECT_EQ(json["points"][0]["seconds"].size(), 3u);
  EXPECT_GT(json["points"][0]["median"].get<double>(), 0.0);
  EXPECT_GT(json["points"][0]["floor_seconds"].get<double>(), 0.0);
  // 21 x 64 + 2 x 64 + 65 x 32 + 2 x 32 + 33.
  EXPECT_EQ(json["parameters"], 3649);
  EXPECT_EQ(Read("all.json"), Read(folder + "scale.json"));
  EXPECT_EQ(Read("rows.csv"), Read(folder + "scale.csv"));
  EXPECT_TRUE(Read(folder + "scale.reframe").starts_with("sanity: ok\n"));
  EXPECT_THAT(Read(folder + "scale.mllog"), HasSubstr("run_stop"));
}

TEST_F(Program, ScalePlansStrongAndWeakPoints) {
  const Ran ran = Run(kQuick +
                      "--threads 1,2 --strong --weak --repetitions 6 --format json --out here "
                      "--predict 16 --network 2,10");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const auto json = nlohmann::json::parse(ran.out);
  std::vector<std::pair<int, int>> places;
  for (const auto& point : json["points"]) places.emplace_back(point["threads"], point["batch"]);
  EXPECT_THAT(places, testing::ElementsAre(std::pair(1, 64), std::pair(2, 64), std::pair(2, 128)));
  EXPECT_EQ(json["curves"].size(), 2u);
  EXPECT_EQ(json["curves"][1]["mode"], "weak");
  EXPECT_EQ(json["prediction"]["network"]["source"], "given");
  EXPECT_EQ(json["prediction"]["weak"].back()["ranks"], 16);
  EXPECT_FALSE(json["prediction"]["checks"].empty());
  EXPECT_TRUE(fs::exists(folder_ / "here/index.html"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(Program, ScalePrintsLinesForPrograms) {
  const Ran reframe = Run(kQuick + "--threads 1 --repetitions 6 --format reframe");
  ASSERT_EQ(reframe.code, 0) << reframe.out;
  EXPECT_TRUE(reframe.out.starts_with("sanity: ok\n")) << reframe.out;
  const Ran mllog = Run(kQuick + "--threads 1 --repetitions 6 --format mllog");
  EXPECT_TRUE(mllog.out.starts_with(":::MLLOG {")) << mllog.out;
}

TEST_F(Program, ScaleCountsLoadingWhereItIsAsked) {
  const Ran ran = Run(kQuick + "--threads 1 --repetitions 6 --loading --format json");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_EQ(nlohmann::json::parse(ran.out)["with_loading"], true);
}

TEST_F(Program, ScaleSaysLoudlyThatThereAreTooFewCores) {
  const int many = AvailableThreads() + 1;
  const Ran ran = Run(kQuick + "--threads 1," + std::to_string(many) + " --repetitions 6");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("MORE THREADS THAN CORES"));
  const Ran quiet = Run(kQuick + "--threads 1 --repetitions 6");
  EXPECT_THAT(quiet.out, Not(HasSubstr("MORE THREADS")));
}

TEST_F(Program, ScaleRepeatsSamplesForLargeBatches) {
  const Ran ran = Run(kQuick + "train.batch=1000 --threads 1 --repetitions 6");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("batches of 1000 repeat the 420 training samples"));
}

TEST_F(Program, ScaleNamesWhatIsWrong) {
  ExpectFails(kQuick + "--threads 0", "--threads takes whole numbers from 1 to");
  ExpectFails(kQuick + "--threads 1,,2", "there is none at one place of \"1,,2\"");
  ExpectFails(kQuick + "--ranks two", "--ranks takes whole numbers");
  ExpectFails(kQuick + "--predict 8 --network 3", "--network takes microseconds");
  ExpectFails(kQuick + "--network 2,10", "--predict", /*code=*/2);
  ExpectFails(kQuick + "--repetitions 0", "--repetitions", /*code=*/2);
  ExpectFails(kQuick + "--format picture", "--format", /*code=*/2);
  ExpectFails(kQuick + "--launcher mpirun", "has no {}");
  ExpectFails(kQuick + "--worker file.json", "this is none");
  ExpectFails("scale none.toml", "none.toml");
  ExpectFails("scale " + kClinical + " train.batch=none", "train.batch");
  ExpectFails("scale", "recipe", /*code=*/2);
}

TEST_F(Program, ScaleNamesALauncherThatIsNotThere) {
  for (const char* launcher : {"no-such-mpirun", "./no-such-mpirun"})
    ExpectFails(kQuick + "--ranks 1,2 --launcher '" + launcher + " -n {}'",
                "there is no " + std::string(launcher) + " here");
}

TEST_F(Program, ALaunchThatFailsIsNamed) {
  const Ran ran =
      Run(kQuick + "--threads 1 --ranks 1,2 --repetitions 3 --launcher 'sh -c false {}'");
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("sh ended with exit code 1"));
}

// Started by the program itself, as many as there are cores for or not.
TEST_F(Program, ScaleStartsRanksByItself) {
  if (std::system("command -v mpirun >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no mpirun";
  const Ran ran =
      Run(kQuick +
          "--threads 1 --ranks 1,2 --weak --strong --repetitions 6 --format json "
          "--predict 8 --launcher '" LOCKSTEP_SOURCE_DIR "/tests/mpi/mpirun.sh mpirun {}'");
  if (ran.out.find("without MPI") != std::string::npos) GTEST_SKIP() << "built without MPI";
  ASSERT_EQ(ran.code, 0) << ran.out;
  const auto json = nlohmann::json::parse(ran.out);
  ASSERT_EQ(json["points"].size(), 3u);
  const auto &strong = json["points"][1], &weak = json["points"][2];
  EXPECT_EQ(strong["ranks"], 2);
  EXPECT_EQ(strong["batch"], 64);
  EXPECT_EQ(weak["batch"], 128);
  EXPECT_EQ(strong["shards"], 2);
  EXPECT_GT(strong["sent_bytes"].get<double>(), 0.0);
  EXPECT_EQ(strong["seconds"].size(), 6u);
  EXPECT_THAT(json["machine"]["2 ranks"].get<std::string>(), HasSubstr(": "));
  EXPECT_THAT(json["machine"]["MPI"].get<std::string>(), Not(HasSubstr("not used")));
  EXPECT_THAT(json["prediction"]["network"]["source"].get<std::string>(), HasSubstr("measured"));
  const std::string notes = json["notes"].dump();
  EXPECT_THAT(notes, HasSubstr("2 ranks x 1 thread need train.shards = 2"));
  EXPECT_THAT(notes, HasSubstr("in a launch of their own"));
}

}  // namespace
}  // namespace lockstep::tools
