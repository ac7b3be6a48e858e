#include "models/recipe.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "models/recipe_keys.h"

namespace lockstep::inline v0_1 {
namespace {

std::string ErrorOf(const std::string& text, std::vector<std::string> overrides = {}) {
  const Result<Recipe> recipe = ParseRecipe(text, "r.toml", overrides);
  return recipe.ok() ? "" : recipe.status().message();
}

TEST(Recipe, PrintsAndReadsBackToTheSame) {
  const std::vector<std::string> overrides = {
      "model.hidden=[7, 9]", "optimizer.learning_rate=0.125",
      "data.ignore=[\"a \\\"b\\\"\", \"3\"]", "train.keep_best=false", "data.positive=M"};
  const Result<Recipe> recipe = ParseRecipe("", "r.toml", overrides);
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  const std::string text = PrintRecipe(*recipe);
  const Result<Recipe> again = ParseRecipe(text, "again.toml");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(PrintRecipe(*again), text);
  EXPECT_EQ(std::get<MlpFamily>(again->model.family).hidden, (std::vector<int64_t>{7, 9}));
  EXPECT_EQ(again->data.ignore, (std::vector<std::string>{"a \"b\"", "3"}));
  EXPECT_EQ(again->data.positive, "M");
  EXPECT_FALSE(again->train.keep_best);
}

TEST(Recipe, EveryErrorSaysWhereAndWhatToDo) {
  EXPECT_EQ(ErrorOf("[train]\nepoch = 3\n"),
            "r.toml:2: unknown key \"train.epoch\"; did you mean train.epochs?");
  EXPECT_NE(ErrorOf("[trian]\nepochs = 3\n").find("r.toml:1: unknown table [trian]"),
            std::string::npos);
  EXPECT_EQ(ErrorOf("[train]\nepochs = 0.5\n"),
            "r.toml:2: train.epochs: must be a whole number, as 16");
  EXPECT_EQ(ErrorOf("[train]\nepochs = 0\n"), "r.toml:2: train.epochs: must be at least 1, not 0");
  EXPECT_EQ(ErrorOf("[model]\ndropout = 2\n"),
            "r.toml:2: model.dropout: must be between 0 and 0.999, not 2");
  EXPECT_EQ(
      ErrorOf("[model]\nnorm = \"bath\"\n"),
      "r.toml:2: model.norm: does not know \"bath\"; choose one of none, batch, layer, rms, group");
  EXPECT_EQ(ErrorOf("[model]\nhidden = [4, 0]\n"),
            "r.toml:2: model.hidden: must be at least 1, not 0");
  EXPECT_EQ(ErrorOf("[model]\nhidden = 4\n"),
            "r.toml:2: model.hidden: must be a list of whole numbers, as [64, 32]");
  EXPECT_NE(ErrorOf("[model\n").find("r.toml:1: not TOML"), std::string::npos);
  EXPECT_NE(ErrorOf("", {"train.epochs"}).find("write key=value"), std::string::npos);
  EXPECT_NE(ErrorOf("", {"train.epochs=x"}).find("must be a whole number"), std::string::npos);
  EXPECT_NE(ErrorOf("", {"data.kind=csv"}).find("needs data.path"), std::string::npos);
  EXPECT_NE(ErrorOf("", {"train.batch=10", "train.micro_batches=3"}).find("does not divide"),
            std::string::npos);
  EXPECT_NE(ErrorOf("", {"optimizer.learning_rate=nan"}).find("must be between"),
            std::string::npos);
}

TEST(Recipe, AnUnknownKeyOfTheModelNamesTheFamilyThatLacksIt) {
  EXPECT_EQ(ErrorOf("[model]\nhiden = [3]\n"),
            "r.toml:2: unknown key \"model.hiden\" of model.kind = \"mlp\"; did you mean "
            "model.hidden?");
  EXPECT_EQ(ErrorOf("[model]\nkind = \"nlp\"\n"),
            "r.toml:2: model.kind: does not know \"nlp\"; choose one of mlp, cnn, "
            "transformer, recurrent");
  EXPECT_EQ(ErrorOf("[model]\nkind = 3.5\n"),
            "r.toml:2: model.kind: does not know \"3.5\"; choose one of mlp, cnn, transformer, "
            "recurrent");
  EXPECT_EQ(ErrorOf("[model]\nkind = [1]\n"), "r.toml:2: model.kind: must be a text, as \"name\"");
  EXPECT_EQ(ErrorOf("model = 3\n"), "r.toml:1: unknown key \"model\"; did you mean model.eps?");
}

// The choices that are printed, checked and built are one table: what it offers can be built, and a
// program that fills in something else is told so instead of getting some default.
TEST(Recipe, EveryChoiceCanBeBuiltAndNothingElse) {
  Context ctx({.threads = 1});
  const auto build = [&](Recipe recipe) -> Status {
    // Small pictures in, three classes or one number out; no data are read.
    const Objective* objective =
        ObjectiveNamed(recipe.data.task == "auto" ? "classes" : recipe.data.task);
    if (objective == nullptr) return LoadData(recipe).status();
    DatasetInfo info{.x_shape = {8, 8, 3}};
    const std::string family = KindOf(recipe.model.family);
    if (family == "recurrent") info.x_shape = {8, 3};  // a series instead
    if (family == "transformer")
      std::get<TransformerFamily>(recipe.model.family).architecture = "vit";
    const bool binary = recipe.loss.kind == "bce" || objective->task == Task::kBinary;
    const bool numbers =
        recipe.loss.kind == "mse" || recipe.loss.kind == "huber" || recipe.loss.kind == "quantile";
    SetTargets(binary    ? Task::kBinary
               : numbers ? Task::kRegression
                         : objective->task,
               binary ? 1 : 3, info);
    LOCKSTEP_TRY(BuildNetwork(ctx, recipe, info, 4).status());
    LOCKSTEP_TRY(BuildOptimizer(recipe).status());
    LOCKSTEP_TRY(BuildLoaderOptions(recipe).status());
    return BuildTrainerOptions(recipe, 10).status();
  };
  int choices = 0, refused = 0;
  std::vector<std::pair<std::string, std::vector<std::string>>> keys;
  Recipe recipe;
  VisitKeys(recipe, [&](const char* key, const auto&, const KeyLimits& limits, const char*) {
    if (!limits.choices.empty()) keys.emplace_back(key, limits.choices);
  });
  for (const auto& [key, names] : keys) {
    for (const std::string& name : names) {
      const std::vector<std::string> overrides = {key + "=" + name, "data.path=x"};
      const Result<Recipe> made = ParseRecipe("", "r.toml", overrides);
      ASSERT_TRUE(made.ok()) << made.status().message();
      const Status built = build(*made);
      EXPECT_TRUE(built.ok()) << key << " = " << name << ": " << built.message();
      ++choices;
    }
    if (key == "model.kind") continue;  // no string in a Recipe
    Recipe filled;
    VisitKeys(filled, [&of = key](const char* one, auto& member, const KeyLimits&, const char*) {
      if constexpr (std::is_same_v<std::decay_t<decltype(member)>, std::string>) {
        if (of == one) member = "nonsense";
      }
    });
    filled.data.path = "/nowhere";
    // [data] is read only where the kind of data needs it.
    const bool pictures = key.starts_with("augment.") || key == "data.fit" || key == "data.bad";
    if (key.starts_with("data.") && key != "data.kind") filled.data.kind = "csv";
    if (pictures) filled.data.kind = "images";
    if (key == "data.tokenizer") filled.data.kind = "text";
    const bool loads = pictures || key.starts_with("data.");
    const Status wrong = loads ? LoadData(filled).status() : build(filled);
    EXPECT_NE(wrong.message().find("nonsense"), std::string::npos)
        << key << ": " << wrong.message();
    ++refused;
  }
  EXPECT_GE(choices, 40);
  EXPECT_GE(refused, 13);
}

// Every message is one line, whatever a key is set to.
TEST(Recipe, NoValueOfAnyKeyBreaksIt) {
  VisitKeys(
      *std::make_unique<Recipe>(), [](const char* key, const auto&, const KeyLimits&, const char*) {
        for (const char* value :
             {"-1", "0", "1e308", "nan", "inf", "-inf", "\"\"", "\"x\\ny\"", "[]", "[[1]]", "{}",
              "true", "9223372036854775807", "1979-05-27", "=", "\n[train]\nepochs=1"}) {
          const std::string error = ErrorOf("", {std::string(key) + "=" + value});
          EXPECT_EQ(error.find('\n'), std::string::npos) << error;
        }
      });
}

TEST(Recipe, ThoseThatAreShippedAreRight) {
  for (const auto& entry :
       std::filesystem::directory_iterator(LOCKSTEP_SOURCE_DIR "/models/recipes")) {
    SCOPED_TRACE(entry.path());
    const std::vector<std::string> overrides = {"data.path=somewhere"};
    const Result<Recipe> recipe = LoadRecipe(entry.path(), overrides);
    EXPECT_TRUE(recipe.ok()) << recipe.status().message();
  }
}

TEST(Recipe, LossMustFitTheData) {
  const std::vector<std::string> overrides = {"loss.kind=cross_entropy", "data.size=200"};
  const Result<Recipe> recipe = ParseRecipe("", "r.toml", overrides);
  ASSERT_TRUE(recipe.ok());
  const Result<RecipeData> data = LoadData(*recipe);
  ASSERT_TRUE(data.ok()) << data.status().message();
  Context ctx({.threads = 1});
  const Result<Network> net = BuildNetwork(ctx, *recipe, data->train.dataset->info(), 32);
  ASSERT_FALSE(net.ok());
  EXPECT_EQ(
      net.status().message(),
      "loss.kind = \"cross_entropy\" is for class numbers and does not fit the data, which have "
      "two classes; choose auto, or one of bce");
}

TEST(Recipe, TextIsTakenAsItWasTyped) {
  const std::vector<std::string> overrides = {
      "output.folder=2031-12-24",
      "data.label=1e3",
      "data.positive=true",
      "data.test_path=07:30",
      "data.group=2030-01-01T08:15:00Z",
      "data.label_path={a = 1}",
      "data.text=5  # not a remark",
      "data.ignore=[1999-12-31, 0x1F, 2.50, true, \"as, is\"]"};
  const auto recipe = ParseRecipe("", "r.toml", overrides);
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  EXPECT_EQ(recipe->output.folder, "2031-12-24");
  EXPECT_EQ(recipe->data.label, "1e3");
  EXPECT_EQ(recipe->data.positive, "true");
  EXPECT_EQ(recipe->data.test_path, "07:30");
  EXPECT_EQ(recipe->data.group, "2030-01-01T08:15:00Z");
  EXPECT_EQ(recipe->data.label_path, "{a = 1}");
  EXPECT_EQ(recipe->data.text, "5  # not a remark");
  EXPECT_EQ(recipe->data.ignore,
            (std::vector<std::string>{"1999-12-31", "0x1F", "2.50", "true", "as, is"}));

  const auto file = ParseRecipe(
      "output = { folder = 2031-12-24 }  # \u00e9\n[data]\nlabel = -1.50\ntest_path = 2020-01-02 "
      "03:04:05\npositive = +7 # that\ngroup = 1_000\nignore = [\n  2001-02-03,  # one\n  "
      "\"\u00e9\", "
      "false]\n",
      "r.toml");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->output.folder, "2031-12-24");
  EXPECT_EQ(file->data.label, "-1.50");
  EXPECT_EQ(file->data.test_path, "2020-01-02 03:04:05");
  EXPECT_EQ(file->data.positive, "+7");
  EXPECT_EQ(file->data.group, "1_000");
  EXPECT_EQ(file->data.ignore, (std::vector<std::string>{"2001-02-03", "\u00e9", "false"}));
  EXPECT_EQ(PrintRecipe(*ParseRecipe(PrintRecipe(*file), "again.toml")), PrintRecipe(*file));
}

TEST(Recipe, AByteOrderMarkIsPassedOver) {
  const std::string mark = "\xEF\xBB\xBF";
  const auto recipe = ParseRecipe(mark + "[train]\nepochs = 7\n", "r.toml");
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  EXPECT_EQ(recipe->train.epochs, 7);
  EXPECT_EQ(ErrorOf(mark + "\n[train]\nepochs = 0\n"),
            "r.toml:3: train.epochs: must be at least 1, not 0");
  EXPECT_NE(ErrorOf("[train]\n" + mark + "epochs = 7\n").find("r.toml:2: not TOML"),
            std::string::npos);
  EXPECT_NE(ErrorOf("\xFF\xFE[\x01t\x01").find("text in UTF-16"), std::string::npos);
}

TEST(Recipe, AFileOfAnotherKindIsCalledByItsName) {
  EXPECT_NE(ErrorOf("PK\x03\x04 and more").find("r.toml: not TOML: it is a ZIP archive"),
            std::string::npos);
}

TEST(Recipe, AnEpsThatAdamCannotWorkWithNamesItsKey) {
  EXPECT_NE(ErrorOf("", {"optimizer.eps=1e-30"}).find("optimizer.eps: must be between"),
            std::string::npos);
  for (const char* kind : {"adam", "adamw"}) {
    const std::vector<std::string> overrides = {"optimizer.eps=1e-18",
                                                std::string("optimizer.kind=") + kind};
    const auto recipe = ParseRecipe("", "r.toml", overrides);
    ASSERT_TRUE(recipe.ok()) << recipe.status().message();
    const Status status = BuildOptimizer(*recipe).status();
    EXPECT_TRUE(status.message().starts_with("optimizer.eps: eps must be at least 3.6e-18"))
        << status.message();
  }
}

TEST(Recipe, KindsOfDataWithoutATestPathRefuseIt) {
  for (const char* kind : {"clinical", "digits", "mnist", "npy", "cifar10", "sums"}) {
    const std::vector<std::string> overrides = {std::string("data.kind=") + kind, "data.path=there",
                                                "data.test_path=elsewhere"};
    const auto recipe = ParseRecipe("", "r.toml", overrides);
    ASSERT_TRUE(recipe.ok()) << recipe.status().message();
    EXPECT_NE(LoadData(*recipe).status().message().find("has no data.test_path"), std::string::npos)
        << kind;
  }
}

TEST(Recipe, TakesLettersOfAnyLanguageWhereTextMayStand) {
  const std::vector<std::string> overrides = {"data.path=/home/m\u00fcller/x.csv"};
  const auto recipe =
      ParseRecipe("# \u00fcber\n[data]\nlabel = \"Gr\u00f6\u00dfe \\\" #\"\n", "r.toml", overrides);
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  EXPECT_EQ(recipe->data.path, "/home/m\u00fcller/x.csv");
  EXPECT_EQ(recipe->data.label, "Gr\u00f6\u00dfe \" #");
  EXPECT_TRUE(ParseRecipe(PrintRecipe(*recipe), "again.toml").ok());

  const auto key = ParseRecipe("[data]\nl\u00e4bel = 1\n", "r.toml");
  ASSERT_FALSE(key.ok());
  EXPECT_EQ(key.status().message(), "r.toml:2: not TOML: a letter that no key has");
  const auto control = ParseRecipe("[data]\n\x01", "r.toml");
  ASSERT_FALSE(control.ok());
  EXPECT_EQ(control.status().message(), "r.toml:2: not TOML: a control character");
}

}  // namespace
}  // namespace lockstep
