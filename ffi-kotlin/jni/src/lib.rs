//! The native half of Coatroom as Kotlin loads it. All calls of `coatroom-ffi` are in this library, for JNA, which costs
//! microseconds each; those that nearly every exchange makes are bound to a class of the JVM here, which costs a tenth of one.
//!
//! Objects cross as numbers and values as bytes, so there is no pointer to get wrong ([`coatroom_ffi::numbered`]).

use coatroom_ffi::numbered;
use jni::errors::{LogErrorAndDefault, Result};
use jni::objects::{JByteArray, JClass};
use jni::sys::{jboolean, jint, jlong};
use jni::{Env, EnvUnowned, NativeMethod, native_method};

// One library and one set of statics for both ways over the border.
coatroom_ffi::uniffi_reexport_scaffolding!();

/// What the class declares. The macro writes each signature from the types, and the JVM compares it with the class.
const CALLS: &[NativeMethod<'_>] = &[
    native_method! { static fn begin(coatroom: jlong, cookies: [jbyte], serial: jboolean) -> [jbyte] },
    native_method! { static fn apply(exchange: jlong, edits: [jbyte]) -> [jbyte] },
    native_method! { static fn commit(exchange: jlong, edits: [jbyte], head: [jbyte]) -> [jbyte] },
    native_method! { static fn drop(exchange: jlong) },
];

/// Binds the calls to the class that declares them: 1, or 0 if this JVM does not let it. JNA calls this once with the class, so
/// it is of no concern which class loader has which library.
#[expect(unsafe_code, reason = "the name by which JNA finds it, and the word of the table above that it fits")]
#[unsafe(no_mangle)]
pub extern "system" fn coatroom_bind<'local>(mut env: EnvUnowned<'local>, class: JClass<'local>) -> jint {
    // SAFETY: the functions are what `native_method!` made of safe ones, with their signatures; they live as long as the
    // library, which stays loaded as long as the class; and they check by themselves that they were declared static.
    let bind = |env: &mut Env<'local>| unsafe { env.register_native_methods(class, CALLS) }.map(|()| 1);
    env.with_env(bind).resolve::<LogErrorAndDefault>()
}

type Bytes<'local> = Result<JByteArray<'local>>;

fn begin<'local>(
    env: &mut Env<'local>,
    _: JClass<'local>,
    coatroom: jlong,
    cookies: JByteArray<'local>,
    serial: jboolean,
) -> Bytes<'local> {
    let cookies = env.convert_byte_array(cookies)?;
    env.byte_array_from_slice(&numbered::begin(coatroom, &cookies, serial))
}

fn apply<'local>(
    env: &mut Env<'local>,
    _: JClass<'local>,
    exchange: jlong,
    edits: JByteArray<'local>,
) -> Bytes<'local> {
    let edits = env.convert_byte_array(edits)?;
    env.byte_array_from_slice(&numbered::apply(exchange, &edits))
}

fn commit<'local>(
    env: &mut Env<'local>,
    _: JClass<'local>,
    exchange: jlong,
    edits: JByteArray<'local>,
    head: JByteArray<'local>,
) -> Bytes<'local> {
    let (edits, head) = (env.convert_byte_array(edits)?, env.convert_byte_array(head)?);
    env.byte_array_from_slice(&numbered::commit(exchange, &edits, &head))
}

#[expect(clippy::unnecessary_wraps, reason = "all functions of the table give one")]
fn drop<'local>(_: &mut Env<'local>, _: JClass<'local>, exchange: jlong) -> Result<()> {
    numbered::drop(exchange);
    Ok(())
}
