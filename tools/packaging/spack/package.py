"""Spack: copy to packages/lockstep/package.py of a repository of your own, say where releases are
in `url` (or check out the sources and run `spack dev-build lockstep@0.1.0`), and `spack install
lockstep +mpi`."""

from spack.package import *


class Lockstep(CMakePackage):
    """Trains neural networks on CPUs: the same bits on any number of threads and processes."""

    license("Apache-2.0")
    version("0.1.0")

    variant("shared", default=True, description="Shared libraries")
    variant("c", default=True, description="The C interface")
    variant("program", default=False, description="The lockstep program (needs Chart.js)")
    variant("mpi", default=False, description="Ranks that are processes")

    depends_on("cxx", type="build")
    depends_on("c", type="build", when="+mpi")
    depends_on("cmake@3.25:", type="build")
    depends_on("highway@1.0.3:")
    depends_on("intel-oneapi-tbb@2021.8:")
    depends_on("zlib-api")
    depends_on("nlohmann-json@3.11:")
    depends_on("mpi", when="+mpi")
    for on in ("+c", "+program"):
        depends_on("tomlplusplus@3.3:", when=on)
        depends_on("libpng@1.6:", when=on)
        depends_on("jpeg", when=on)
    depends_on("cli11@2.1:", when="+program")
    depends_on("fmt@9:", when="+program")

    def cmake_args(self):
        return [
            self.define_from_variant("BUILD_SHARED_LIBS", "shared"),
            self.define_from_variant("LOCKSTEP_BUILD_C_API", "c"),
            self.define_from_variant("LOCKSTEP_BUILD_PROGRAM", "program"),
            self.define_from_variant("LOCKSTEP_MPI", "mpi"),
        ]
