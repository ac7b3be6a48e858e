"""Conan 2: run `conan create tools/packaging/conan --version 0.1.0` in the root of the sources."""

import os

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy


class LockstepConan(ConanFile):
    name = "lockstep"
    description = "Trains neural networks on CPUs"
    license = "Apache-2.0"
    package_type = "library"
    settings = "os", "compiler", "build_type", "arch"
    options = {"shared": [True, False], "fPIC": [True, False], "c_api": [True, False]}
    default_options = {"shared": False, "fPIC": True, "c_api": True}

    @property
    def _root(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def export_sources(self):
        for folder in ("engine", "layers", "models", "tools"):
            copy(self, f"{folder}/*", self._root, self.export_sources_folder)
        for file in ("CMakeLists.txt", "LICENSE"):
            copy(self, file, self._root, self.export_sources_folder)

    def configure(self):
        if self.options.shared:
            self.options.rm_safe("fPIC")

    def validate(self):
        check_min_cppstd(self, 20)

    def requirements(self):
        self.requires("highway/[>=1.0.3 <2]")
        self.requires("onetbb/[>=2021.8 <2023]")
        self.requires("zlib/[>=1.2.13 <2]")
        self.requires("nlohmann_json/[>=3.11 <4]")
        if self.options.c_api:
            self.requires("tomlplusplus/[>=3.3 <4]")
            self.requires("libpng/[>=1.6 <2]")
            self.requires("libjpeg-turbo/[>=2.1 <4]")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        deps = CMakeDeps(self)
        deps.set_property("highway", "cmake_file_name", "hwy")
        deps.set_property("highway", "cmake_target_name", "hwy::hwy")
        deps.set_property("libjpeg-turbo", "cmake_file_name", "JPEG")
        deps.set_property("libjpeg-turbo", "cmake_target_name", "JPEG::JPEG")
        deps.generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["LOCKSTEP_BUILD_PROGRAM"] = False
        toolchain.cache_variables["LOCKSTEP_BUILD_C_API"] = bool(self.options.c_api)
        toolchain.cache_variables["LOCKSTEP_MPI"] = "OFF"
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "lockstep")
        engine = self.cpp_info.components["engine"]
        engine.set_property("cmake_target_name", "lockstep::lockstep")
        engine.set_property("pkg_config_name", "lockstep")
        engine.libs = ["lockstep"]
        engine.requires = ["highway::highway", "onetbb::onetbb", "zlib::zlib", "nlohmann_json::nlohmann_json"]
        if self.settings.os == "Linux":
            engine.system_libs = ["pthread", "m"]
        if self.options.c_api:
            c = self.cpp_info.components["c"]
            c.set_property("cmake_target_name", "lockstep::c")
            c.set_property("pkg_config_name", "lockstep-c")
            c.libs = ["lockstep_c"]
            c.requires = ["engine", "tomlplusplus::tomlplusplus", "libpng::libpng", "libjpeg-turbo::libjpeg-turbo"]
