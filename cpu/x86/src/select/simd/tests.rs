//! Every legacy encoding of these features has a row.

use iced_x86::{Code, CpuidFeature as F, EncodingKind, Mnemonic as M};

use crate::{Cold, Flag, Insn, Mode, Pick, Pure, Reach, Rmw, Seg, Sem, Semantics, Width};

/// Learns the name of a cold instruction and can do nothing else.
#[derive(Default)]
struct Name(&'static str);

/// Answers with the name of a cold row. (Only for tables without hot rows: each of those would be
/// compiled for nothing.)
struct PickName<'a>(&'a Insn);

impl Pick for PickName<'_> {
    type Out = &'static str;

    fn pick<T: Semantics>(self) -> &'static str {
        let mut name = Name::default();
        let () = T::exec(&mut name, self.0).unwrap_or(());
        name.0
    }
}

/// Of the same features, but general instructions, x87's or the system's.
const ELSEWHERE: [M; 13] = [
    M::Crc32,
    M::Fisttp,
    M::Lfence,
    M::Mfence,
    M::Sfence,
    M::Movnti,
    M::Prefetchnta,
    M::Prefetcht0,
    M::Prefetcht1,
    M::Prefetcht2,
    M::Pause,
    M::Xgetbv,
    M::Xsetbv,
];

#[test]
fn every_legacy_encoding_has_a_row() {
    let wanted = [
        F::MMX,
        F::SSE,
        F::SSE2,
        F::SSE3,
        F::SSSE3,
        F::SSE4_1,
        F::SSE4_2,
        F::AES,
        F::PCLMULQDQ,
        F::SHA,
        F::GFNI,
        F::FXSR,
        F::XSAVE,
        F::XSAVEC,
        F::XSAVEOPT,
        F::XSAVES,
    ];
    let mut count = 0;
    for code in Code::values() {
        let of_these = code.cpuid_features().iter().any(|f| wanted.contains(f));
        let is_elsewhere = ELSEWHERE.contains(&code.mnemonic());
        if !of_these || is_elsewhere || code.op_code().encoding() != EncodingKind::Legacy {
            continue;
        }
        count += 1;
        let insn = Insn::new(code, Mode::default(), 1);
        let name = super::pick(&insn, PickName(&insn)).unwrap_or_default();
        assert!(!name.is_empty(), "{code:?} has no row");
    }
    assert!(count > 400, "only {count} encodings");
}

#[test]
fn every_vex_encoding_has_a_row() {
    let wanted = [
        F::AVX,
        F::AVX2,
        F::FMA,
        F::F16C,
        F::AES,
        F::PCLMULQDQ,
        F::VAES,
        F::VPCLMULQDQ,
        F::AVX_VNNI,
        F::GFNI,
    ];
    let mut count = 0;
    for code in Code::values() {
        let of_these = code.cpuid_features().iter().all(|f| wanted.contains(f));
        if !of_these || code.op_code().encoding() != EncodingKind::VEX {
            continue;
        }
        count += 1;
        let insn = Insn::new(code, Mode::default(), 1);
        let name = super::pick(&insn, PickName(&insn)).unwrap_or_default();
        assert!(!name.is_empty(), "{code:?} has no row");
    }
    assert!(count > 600, "only {count} encodings");
}

#[test]
fn rows_name_the_lane_function() {
    let name = |code| {
        let insn = Insn::new(code, Mode::default(), 1);
        super::pick(&insn, PickName(&insn)).unwrap_or_default()
    };
    assert_eq!(name(Code::Paddb_mm_mmm64), "lanes::paddb");
    assert_eq!(name(Code::Paddb_xmm_xmmm128), "lanes::paddb");
    assert_eq!(name(Code::VEX_Vpaddb_ymm_ymm_ymmm256), "lanes::paddb");
    assert_eq!(name(Code::Addsd_xmm_xmmm64), "sse::add");
    assert_eq!(name(Code::Movsd_xmm_xmmm64), "moves::movsd::<Xmm>");
    assert_eq!(name(Code::Cmpsd_xmm_xmmm64_imm8), "float::compare_scalar::<Xmm, u64>");
}

impl Sem for Name {
    type Value = u64;
    type Place = u64;
    type Stop = ();

    fn cold(&mut self, cold: Cold, _: &Insn) -> Result<(), ()> {
        self.0 = cold.name;
        Ok(())
    }

    fn imm(&mut self, _: u64) -> Self::Value {
        unreachable!()
    }
    fn get(&mut self, _: Width, _: u8) -> Self::Value {
        unreachable!()
    }
    fn set(&mut self, _: Width, _: u8, _: Self::Value) {
        unreachable!()
    }
    fn address<R: Reach>(&mut self, _: &Insn) -> Self::Value {
        unreachable!()
    }
    fn load<R: Reach>(
        &mut self,
        _: Width,
        _: &Insn,
        _: Seg,
        _: Self::Value,
    ) -> Result<Self::Value, Self::Stop> {
        unreachable!()
    }
    fn store<R: Reach>(
        &mut self,
        _: Width,
        _: &Insn,
        _: Seg,
        _: Self::Value,
        _: Self::Value,
    ) -> Result<(), Self::Stop> {
        unreachable!()
    }
    fn load_for_write<R: Reach>(
        &mut self,
        _: Width,
        _: &Insn,
        _: Seg,
        _: Self::Value,
    ) -> Result<(Self::Place, Self::Value), Self::Stop> {
        unreachable!()
    }
    fn commit(&mut self, _: Width, _: Self::Place, _: Self::Value) {
        unreachable!()
    }
    fn update<R: Reach>(
        &mut self,
        _: Width,
        _: &Insn,
        _: Seg,
        _: Self::Value,
        _: Rmw,
        _: Self::Value,
    ) -> Result<Self::Value, Self::Stop> {
        unreachable!()
    }
    fn compare_exchange<R: Reach>(
        &mut self,
        _: Width,
        _: &Insn,
        _: Seg,
        _: Self::Value,
        _: Self::Value,
        _: Self::Value,
    ) -> Result<Self::Value, Self::Stop> {
        unreachable!()
    }
    fn add(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn sub(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn and(&mut self, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn or(&mut self, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn xor(&mut self, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn not(&mut self, _: Width, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn shl(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn shr(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn sar(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn mul(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn mul_high_unsigned(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn mul_high_signed(&mut self, _: Width, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn truncate(&mut self, _: Width, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn sign_extend(&mut self, _: Width, _: Width, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn byte_swap(&mut self, _: Width, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn count_ones(&mut self, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn leading_zeros(&mut self, _: Width, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn trailing_zeros(&mut self, _: Width, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn equal(&mut self, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn below(&mut self, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn select(&mut self, _: Self::Value, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn pure(&mut self, _: Pure, _: Self::Value, _: Self::Value) -> Self::Value {
        unreachable!()
    }
    fn flags_add(&mut self, _: Width, _: Self::Value, _: Self::Value, _: Self::Value) {
        unreachable!()
    }
    fn flags_sub(&mut self, _: Width, _: Self::Value, _: Self::Value, _: Self::Value) {
        unreachable!()
    }
    fn flags_logic(&mut self, _: Width, _: Self::Value) {
        unreachable!()
    }
    fn flags_inc(&mut self, _: Width, _: Self::Value) {
        unreachable!()
    }
    fn flags_dec(&mut self, _: Width, _: Self::Value) {
        unreachable!()
    }
    fn flags_shift(&mut self, _: Width, _: Self::Value, _: Self::Value, _: Self::Value) {
        unreachable!()
    }
    fn flags_rotate(&mut self, _: Self::Value, _: Self::Value) {
        unreachable!()
    }
    fn flag(&mut self, _: Flag) -> Self::Value {
        unreachable!()
    }
    fn set_flag(&mut self, _: Flag, _: Self::Value) {
        unreachable!()
    }
    fn flags(&mut self) -> Self::Value {
        unreachable!()
    }
    fn set_flags(&mut self, _: u64, _: Self::Value) {
        unreachable!()
    }
    fn condition(&mut self, _: u8) -> Self::Value {
        unreachable!()
    }
    fn direction(&mut self) -> Self::Value {
        unreachable!()
    }
    fn next_ip(&mut self, _: Width, _: &Insn) -> Self::Value {
        unreachable!()
    }
    fn jump(&mut self, _: Width, _: &Insn, _: Self::Value) -> Result<(), Self::Stop> {
        unreachable!()
    }
    fn branch(&mut self, _: Width, _: &Insn, _: Option<Self::Value>) -> Result<(), Self::Stop> {
        unreachable!()
    }
    fn when(
        &mut self,
        _: Self::Value,
        _: impl FnOnce(&mut Self) -> Result<(), Self::Stop>,
    ) -> Result<(), Self::Stop> {
        unreachable!()
    }
}
